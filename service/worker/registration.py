"""This worker's row in the fleet: it says that the worker lives and what it can do, and hears what operators want."""

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import structlog

from service import __version__
from service.jobs.routing import Taker
from service.plan.render_plan import PIPELINE_VERSION
from service.store import fleet, workers
from service.store.database import Database
from service.store.workers import HeartbeatAnswer
from service.telemetry import metrics
from service.worker.settings import WorkerSettings

log = structlog.get_logger("worker")
# A worker that a newer version has superseded waits so long for renders that are left to it, then drains. `up` takes
# one that ends so late for one that ran well.
SUPERSEDED_S = 60.0
MEMORY_MB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


class Registration:
    """Sends the heartbeats of this worker. `drain` is called once, when an operator or a newer version wants it."""

    def __init__(self, database: Database, worker: Taker, settings: WorkerSettings, drain: Callable[[], None]) -> None:
        self._database, self._worker, self._settings, self._drain = database, worker, settings, drain
        self._clock_offset_s = 0.0
        self._superseded_since: float | None = None
        self._draining = False

    async def send_heartbeat(self, offers: frozenset[str], trouble: str, sandbox_gaps: list[str]) -> None:
        """Say what the worker `offers` now, what `trouble` keeps it from taking tasks, if any does, and what the walls
        around its slots lack."""
        assert self._worker.id is not None
        async with self._database.service_transaction() as connection:
            answer = await self._record(connection)
            await workers.update_facts(
                connection, self._worker.id, self._facts(offers, trouble) | {"sandbox_gaps": sandbox_gaps}
            )
            superseded = await fleet.is_superseded(connection)
            if self._has_waited(superseded) and not self._draining:
                log.warning("a newer version runs, and no render is left to this one: it drains")
                await fleet.start_draining(connection, self._worker.id)
                self._start_draining()
        if answer.state == "draining" and not self._draining:
            log.info("an operator drains this worker")
            self._start_draining()

    async def _record(self, connection: Any) -> HeartbeatAnswer:
        """Also measures how far the clock of this machine is ahead of the database's."""
        assert self._worker.id is not None
        before = time.time()
        own = (self._worker.id, self._worker.name, self._settings.slots, __version__)
        answer = await workers.record_heartbeat(connection, *own)
        self._clock_offset_s = (before + time.time()) / 2 - answer.seconds
        return answer

    def _facts(self, offers: frozenset[str], trouble: str) -> dict[str, Any]:
        return {
            "figures": metrics.collect_worker_metrics(),
            "gpu_slots": self._settings.gpu_slots,
            "pipeline": int(PIPELINE_VERSION),
            "zone": self._settings.zone,
            "offers": sorted(offers),
            "memory_mb": MEMORY_MB,
            "clock_offset_s": round(self._clock_offset_s, 1),
            "trouble": trouble,
        }

    def _has_waited(self, superseded: bool) -> bool:
        """Whether it has been superseded for SUPERSEDED_S."""
        now = asyncio.get_running_loop().time()
        if not superseded:
            self._superseded_since = None
            return False
        self._superseded_since = now if self._superseded_since is None else self._superseded_since
        return now - self._superseded_since >= SUPERSEDED_S

    def _start_draining(self) -> None:
        self._draining = True
        self._drain()

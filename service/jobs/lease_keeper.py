"""Keeps the leases of all that a worker does, with one statement a second."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import TaskId
from service.jobs import leases
from service.jobs.leases import Lease

log = structlog.get_logger("worker")
HEARTBEAT_INTERVAL_S = 1.0
# A database that hangs must not stop the heartbeats for good.
SEND_TIMEOUT_S = 5.0
# Why a task has to be stopped.
EndOfLease = Literal["cancelled", "lease_lost"]


@dataclass(frozen=True, slots=True)
class _Held:
    lease: Lease
    progress: Callable[[], int]
    ended: "asyncio.Future[EndOfLease]"


class LeaseKeeper:
    """Sends the heartbeats of the leases that are held. An unavailable database does not end them."""

    def __init__(self, transaction: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> None:
        self._transaction = transaction
        self._held: dict[TaskId, _Held] = {}

    def hold(self, lease: Lease, progress: Callable[[], int] = int) -> "asyncio.Future[EndOfLease]":
        """Keep the lease until `drop`; the future says when the work has to be stopped. `progress` is asked for the
        number of finished frames."""
        held = _Held(lease, progress, asyncio.get_running_loop().create_future())
        self._held[lease.task_id] = held
        return held.ended

    def drop(self, lease: Lease) -> None:
        """The work has ended: send no more heartbeats."""
        held = self._held.get(lease.task_id)
        if held is not None and held.lease == lease:
            del self._held[lease.task_id]

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)
            if beats := list(self._held.values()):
                try:
                    await self._send(beats)
                except Exception as error:
                    log.warning("heartbeat failed", tasks=len(beats), reason=type(error).__name__)

    async def _send(self, beats: list[_Held]) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_S), self._transaction() as connection:
            kept = await leases.heartbeat(connection, [(held.lease, held.progress()) for held in beats])
        for held in beats:
            cancelled = kept.get(held.lease.task_id)
            if cancelled is not False and not held.ended.done():
                held.ended.set_result("cancelled" if cancelled else "lease_lost")

"""Webhooks on their way: taken off the queue beside the slots, so that a slow receiver holds up no render."""

import asyncio
from collections.abc import Sequence

import structlog

from service.ids import TaskId
from service.jobs import leases
from service.jobs.leases import Fenced, Lease
from service.jobs.queue import QueueRunner, Retry
from service.store.database import Database
from service.webhooks.delivery import Undelivered, deliver
from service.webhooks.settings import WebhookSettings

log = structlog.get_logger("worker")
CONCURRENCY = 8
RESTART_S = 1.0
PAUSES_S = (5, 30, 120, 600, 3600, 6 * 3600, 18 * 3600)
"""After the first try, the second and so on; one more try than there are pauses, spread over a day."""


class WebhookErrands:
    """Delivers at least once: a receiver tells repeats by their `webhook-id`."""

    def __init__(
        self, database: Database, settings: WebhookSettings, worker: str, pauses_s: Sequence[float] = PAUSES_S
    ) -> None:
        self._database, self._settings, self._worker, self._pauses = database, settings, worker, pauses_s

    async def run(self) -> None:
        """Until cancelled; without a secret another worker, which has one, does it."""
        while self._settings.secret is not None:
            try:
                await QueueRunner(self._database.url, {"webhook": self._handle}, CONCURRENCY).run()
            except Exception as error:
                log.warning("queue connection lost", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RESTART_S)

    async def _handle(self, task: TaskId) -> None:
        async with self._database.service() as connection:
            lease = await leases.start(connection, task, self._worker)
        if lease is None or lease.payload is None:
            return
        try:
            await deliver(self._settings, lease.payload["url"], str(task), lease.payload["body"])
        except Undelivered as failure:
            await self._failed(lease, failure)
        else:
            await self._finished(lease, None)

    async def _failed(self, lease: Lease, failure: Undelivered) -> None:
        error = {"code": "undelivered", "reason": failure.reason}
        log.warning("webhook not delivered", task=str(lease.task), attempt=lease.starts, reason=failure.reason)
        if failure.final or lease.starts > len(self._pauses):
            await self._finished(lease, error)
            return
        async with self._database.service() as connection:
            await leases.release(connection, lease, error, forgiven=False)
        raise Retry(self._pauses[lease.starts - 1], failure.reason)

    async def _finished(self, lease: Lease, error: dict[str, str] | None) -> None:
        try:
            async with self._database.service() as connection:
                await leases.finish(connection, lease, "failed" if error else "succeeded", error=error)
        except Fenced:
            log.warning("lease lost", task=str(lease.task), lease=lease.lease)

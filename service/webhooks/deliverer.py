"""Takes webhook tasks off the queue and retries failed deliveries, independent of the slots."""

import asyncio
from collections.abc import Sequence

import structlog

from service.ids import TaskId
from service.jobs import leases
from service.jobs.leases import Lease, LeaseLost
from service.jobs.queue import QueueConsumer, Retry
from service.store.database import Database
from service.webhooks.delivery import DeliveryError, deliver
from service.webhooks.settings import WebhookSettings

log = structlog.get_logger("worker")
MAX_CONCURRENT_DELIVERIES = 8
RECONNECT_DELAY_S = 1.0
# After the first try, the second and so on; one more try than there are pauses, spread over a day.
RETRY_DELAYS_S = (5, 30, 120, 600, 3600, 6 * 3600, 18 * 3600)


class WebhookDeliverer:
    """Delivers at least once: a receiver tells repeats by their `webhook-id`."""

    def __init__(
        self,
        database: Database,
        settings: WebhookSettings,
        worker_name: str,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
    ) -> None:
        self._database, self._settings, self._worker, self._pauses = database, settings, worker_name, retry_delays_s

    async def run(self) -> None:
        """Until cancelled; without a secret another worker, which has one, does it."""
        while self._settings.secret is not None:
            try:
                await QueueConsumer(
                    self._database.url, {"webhook": self._deliver_task}, MAX_CONCURRENT_DELIVERIES
                ).run()
            except Exception as error:
                log.warning("queue connection lost", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(RECONNECT_DELAY_S)

    async def _deliver_task(self, task: TaskId) -> None:
        async with self._database.service_transaction() as connection:
            lease = await leases.acquire(connection, task, self._worker)
        if lease is None or lease.payload is None:
            return
        try:
            await deliver(self._settings, lease.payload["url"], str(task), lease.payload["body"])
        except DeliveryError as failure:
            await self._handle_failure(lease, failure)
        else:
            await self._finish(lease, None)

    async def _handle_failure(self, lease: Lease, failure: DeliveryError) -> None:
        error = {"code": "undelivered", "reason": failure.reason}
        log.warning("webhook not delivered", task=str(lease.task), attempt=lease.starts, reason=failure.reason)
        if failure.permanent or lease.starts > len(self._pauses):
            await self._finish(lease, error)
            return
        async with self._database.service_transaction() as connection:
            await leases.release(connection, lease, error, forgiven=False)
        raise Retry(self._pauses[lease.starts - 1], failure.reason)

    async def _finish(self, lease: Lease, error: dict[str, str] | None) -> None:
        try:
            async with self._database.service_transaction() as connection:
                await leases.finish(connection, lease, "failed" if error else "succeeded", error=error)
        except LeaseLost:
            log.warning("lease lost", task=str(lease.task), lease=lease.lease)

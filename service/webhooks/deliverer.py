"""Takes webhook tasks off the queue and retries failed deliveries, independent of the slots."""

from collections.abc import Sequence

import structlog

from service.ids import TaskId
from service.jobs import leases
from service.jobs.leases import LeaseLost, WebhookLease
from service.jobs.queue import QueueConsumer, Retry
from service.store.database import Database
from service.store.renders import requesters
from service.webhooks.delivery import DeliveryError, deliver
from service.webhooks.settings import WebhookSettings

log = structlog.get_logger("worker")
MAX_CONCURRENT_DELIVERIES = 8
SHARE_ENDED = {"code": "share_ended", "reason": "whoever asked for the webhook may not see the render any more"}
# Delays after the first, second, ... failed attempt. With the first attempt there are eight, spread over a day.
RETRY_DELAYS_S = (5, 30, 120, 600, 3600, 6 * 3600, 18 * 3600)


class WebhookDeliverer:
    """Delivers every webhook at least once; a receiver recognises repeats by their `webhook-id`."""

    def __init__(
        self,
        database: Database,
        settings: WebhookSettings,
        worker_name: str,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
    ) -> None:
        self._database, self._settings, self._worker = database, settings, worker_name
        self._retry_delays_s = retry_delays_s

    async def run(self) -> None:
        """Run until cancelled. Without a secret it returns at once, and workers that have one deliver."""
        if self._settings.secret is not None:
            await QueueConsumer(self._database.url, {"webhook": self._run_task}, MAX_CONCURRENT_DELIVERIES).run()

    async def _run_task(self, task: TaskId) -> None:
        async with self._database.service_transaction() as connection:
            lease = await leases.acquire(connection, task, self._worker)
            if not isinstance(lease, WebhookLease):
                return
            if not await requesters.may_receive_webhook(connection, lease.payload):
                await leases.finish(connection, lease, "cancelled", error=SHARE_ENDED)
                return
        try:
            await deliver(self._settings, lease.payload["url"], str(task), lease.payload["body"])
        except DeliveryError as failure:
            await self._handle_failure(lease, failure)
        else:
            await self._finish(lease, None)

    async def _handle_failure(self, lease: WebhookLease, failure: DeliveryError) -> None:
        error = {"code": "undelivered", "reason": failure.reason}
        log.warning("webhook not delivered", task=str(lease.task_id), attempt=lease.attempts, reason=failure.reason)
        if failure.permanent or lease.attempts > len(self._retry_delays_s):
            await self._finish(lease, error)
            return
        async with self._database.service_transaction() as connection:
            await leases.release(connection, lease, error)
        raise Retry(self._retry_delays_s[lease.attempts - 1], failure.reason)

    async def _finish(self, lease: WebhookLease, error: dict[str, str] | None) -> None:
        try:
            async with self._database.service_transaction() as connection:
                await leases.finish(connection, lease, "failed" if error else "succeeded", error=error)
        except LeaseLost:
            log.warning("lease lost", task=str(lease.task_id), lease=lease.token)

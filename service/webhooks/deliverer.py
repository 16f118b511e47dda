"""Takes webhook tasks off the queue and retries failed deliveries, independent of the slots."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from weakref import WeakValueDictionary

import structlog
from pydantic import SecretStr

from service.ids import Subject, TaskId
from service.jobs import leases
from service.jobs.leases import LeaseLost, WebhookLease
from service.jobs.queue import QueueConsumer, Retry
from service.store import webhook_secrets
from service.store.database import Database
from service.store.renders import requesters
from service.store.webhook_secrets import SigningSecret
from service.webhooks.delivery import DeliveryError, deliver
from service.webhooks.settings import WebhookSettings, signing_key

log = structlog.get_logger("worker")
SHARE_ENDED = {"code": "share_ended", "reason": "whoever asked for the webhook may not see the render any more"}
# All at once, and those of one caller: slow receivers of one caller leave places for the calls of others.
MAX_CONCURRENT_DELIVERIES, MAX_OF_CALLER = 16, 4
# How long a call waits for one of its caller's places before it goes back to the queue, and for how long it does.
PLACE_WAIT_S, MAX_POSTPONEMENT_S = 0.2, 60.0
# After a subject has made a secret, the secret of the installation signs as well for so long: receivers change over.
CHANGE_OVER = timedelta(days=7)
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
        self._places = WeakValueDictionary[Subject, asyncio.Semaphore]()

    async def run(self) -> None:
        """Run until cancelled."""
        await QueueConsumer(self._database.url, {"webhook": self._run_task}, MAX_CONCURRENT_DELIVERIES).run()

    async def _run_task(self, task: TaskId) -> None:
        async with self._database.service_transaction() as connection:
            lease = await leases.acquire(connection, task, self._worker)
            if not isinstance(lease, WebhookLease):
                return
            if not await requesters.may_receive_webhook(connection, lease.payload):
                await leases.finish(connection, lease, "cancelled", error=SHARE_ENDED)
                return
            owner = Subject(lease.payload.get("owner", ""))  # calls that an earlier version has queued have none
            own_secrets = await webhook_secrets.signing_secrets(connection, owner)
        places = self._places.setdefault(owner, asyncio.Semaphore(MAX_OF_CALLER))
        if not await _acquire_within(places, PLACE_WAIT_S):
            await self._postpone(lease)
        try:
            keys = choose_keys(own_secrets, self._settings.secret)
            await deliver(self._settings, keys, lease.payload["url"], str(task), lease.payload["body"])
        except DeliveryError as failure:
            await self._handle_failure(lease, failure)
        else:
            await self._finish(lease, None)
        finally:
            places.release()

    async def _postpone(self, lease: WebhookLease) -> NoReturn:
        """Put the call back, as other calls of its caller are on their way. Longer each time. Raises Retry."""
        reason = "other calls of the same caller are on their way"
        async with self._database.service_transaction() as connection:
            await leases.release(connection, lease, {"code": "postponed", "reason": reason}, count_attempt=False)
        raise Retry(min(2.0 ** min(lease.token, 10), MAX_POSTPONEMENT_S), reason)

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


async def _acquire_within(places: asyncio.Semaphore, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await places.acquire()
    except TimeoutError:
        return False
    return True


def choose_keys(own: Sequence[SigningSecret], of_installation: SecretStr | None) -> list[bytes]:
    """The keys that sign for a subject: his own, newest first; the installation's if he has none, or none for long.

    Raises DeliveryError if there is none: he may make one before the next attempt.
    """
    keys = [secret.key for secret in own]
    changing_over = not own or datetime.now(UTC) - min(secret.created_at for secret in own) < CHANGE_OVER
    if of_installation is not None and changing_over:
        keys.append(signing_key(of_installation))
    if not keys:
        raise DeliveryError("nothing signs it: make a secret with POST /api/webhooks/secrets")
    return keys

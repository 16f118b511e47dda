"""Takes webhook tasks off the queue and retries failed deliveries, independent of the slots."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from pydantic import SecretStr

from service.ids import Subject
from service.jobs import leases, picking
from service.jobs.fairness import Turns
from service.jobs.lease_keeper import LeaseKeeper
from service.jobs.leases import Failure, LeaseLost, WebhookLease
from service.jobs.queue import WakeUpCall
from service.jobs.retries import UNDELIVERED, RetryClass
from service.jobs.routing import Taker
from service.store import webhook_secrets
from service.store.database import Database, current_time
from service.store.renders import requesters
from service.store.webhook_secrets import SigningSecret
from service.telemetry import metrics
from service.webhooks.delivery import DeliveryError, deliver
from service.webhooks.settings import WebhookSettings, signing_key

log = structlog.get_logger("worker")
SHARE_ENDED = {"code": "share_ended", "reason": "whoever asked for the webhook may not see the render any more"}
# All at once, and those of one caller: slow receivers of one caller leave places for the calls of others.
MAX_CONCURRENT_DELIVERIES, MAX_OF_CALLER = 16, 4
# After a subject has made a secret, the secret of the installation signs as well for so long: receivers change over.
CHANGE_OVER = timedelta(days=7)


class WebhookDeliverer:
    """Delivers every webhook at least once; a receiver recognises repeats by their `webhook-id`."""

    def __init__(
        self,
        database: Database,
        settings: WebhookSettings,
        worker_name: str,
        retries: RetryClass = UNDELIVERED,
        turns: Turns | None = None,
    ) -> None:
        self._database, self._settings, self._worker = database, settings, worker_name
        self._retries = retries
        self._keeper = LeaseKeeper(database.service_transaction)
        self._wake_up, self._turns = WakeUpCall(database.direct_url), turns or Turns()
        self._running: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        helpers = [asyncio.create_task(work) for work in (self._keeper.run(), self._wake_up.run())]
        places = asyncio.Semaphore(MAX_CONCURRENT_DELIVERIES)
        try:
            while True:
                await places.acquire()
                if not await self._start_next(places):
                    places.release()
                    await self._wake_up.wait()
        finally:
            for task in (*helpers, *self._running):
                task.cancel()
            await asyncio.gather(*helpers, *self._running, return_exceptions=True)

    async def _start_next(self, places: asyncio.Semaphore) -> bool:
        """Start the next delivery, which releases its place at the end. False if there is none at this moment."""
        try:
            lease = await self._take()
        except Exception as error:
            log.warning("no webhook can be taken", reason=f"{type(error).__name__}: {error}")
            return False
        if lease is None:
            return False
        owner = lease.payload.get("owner", "")  # calls that an earlier version has queued have none
        self._turns.start(owner, 1.0, asyncio.get_running_loop().time())
        task = asyncio.create_task(self._run_task(lease, Subject(owner)))
        self._running[task] = owner

        def end(done: "asyncio.Task[None]") -> None:
            del self._running[done]
            places.release()
            self._wake_up.ring()  # its caller may have another call that had to wait

        task.add_done_callback(end)
        return True

    async def _take(self) -> WebhookLease | None:
        counts = Counter(self._running.values())
        full = [owner for owner, count in counts.items() if count >= MAX_OF_CALLER]
        async with self._database.service_transaction() as connection:
            found = await picking.list_candidates(connection, "webhook", except_owners=full)
            for candidate in self._turns.order(found, asyncio.get_running_loop().time()):
                lease = await picking.take(connection, candidate, Taker(self._worker))
                if isinstance(lease, WebhookLease):
                    return lease
        return None

    async def _run_task(self, lease: WebhookLease, owner: Subject) -> None:
        self._keeper.hold(lease)
        try:
            await self._deliver(lease, owner)
        except LeaseLost:
            log.warning("lease lost", task=str(lease.task_id), lease=lease.token)
        except Exception as error:  # the lease runs out, and the call is made again
            log.warning("webhook not handled", task=str(lease.task_id), reason=f"{type(error).__name__}: {error}")
        finally:
            self._keeper.drop(lease)

    async def _deliver(self, lease: WebhookLease, owner: Subject) -> None:
        """Raises LeaseLost."""
        async with self._database.service_transaction() as connection:
            if not await requesters.may_receive_webhook(connection, lease.payload):
                await leases.finish(connection, lease, "cancelled", error=SHARE_ENDED)
                return
            own_secrets = await webhook_secrets.signing_secrets(connection, owner)
            now = await current_time(connection)
        try:
            keys = choose_keys(own_secrets, self._settings.secret, now)
            await deliver(self._settings, keys, lease.payload["url"], str(lease.task_id), lease.payload["body"])
        except DeliveryError as failure:
            await self._handle_failure(lease, failure)
        else:
            await self._finish(lease, None)

    async def _handle_failure(self, lease: WebhookLease, failure: DeliveryError) -> None:
        error = {"code": "undelivered", "reason": failure.reason}
        log.warning("webhook not delivered", task=str(lease.task_id), attempt=lease.attempts, reason=failure.reason)
        delay_s = None if failure.permanent else self._retries.gap_s(lease.attempts)
        if delay_s is None:
            await self._finish(lease, error)
            return
        metrics.ATTEMPTS.labels(lease.kind, "undelivered", "retried").inc()
        async with self._database.service_transaction() as connection:
            await leases.release(connection, lease, Failure("undelivered", failure.reason), delay_s)

    async def _finish(self, lease: WebhookLease, error: dict[str, str] | None) -> None:
        async with self._database.service_transaction() as connection:
            await leases.finish(connection, lease, "failed" if error else "succeeded", error=error)
        code, outcome = ("undelivered", "failed") if error else ("ok", "succeeded")
        metrics.ATTEMPTS.labels(lease.kind, code, outcome).inc()


def choose_keys(own: Sequence[SigningSecret], of_installation: SecretStr | None, now: datetime) -> list[bytes]:
    """The keys that sign for a subject: his own, newest first; the installation's if at `now` he has none, or none for
    long.

    Raises DeliveryError if there is none: he may make one before the next attempt.
    """
    keys = [secret.key for secret in own]
    changing_over = not own or now - min(secret.created_at for secret in own) < CHANGE_OVER
    if of_installation is not None and changing_over:
        keys.append(signing_key(of_installation))
    if not keys:
        raise DeliveryError("nothing signs it: make a secret with POST /api/webhooks/secrets")
    return keys

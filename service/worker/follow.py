"""Looks at followed datasets: lists what is under their prefix, and queues a scan where that has changed."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Literal

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from service.periodic import PeriodicTask
from service.store.catalog import datasets, follows
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.follows import Look
from service.store.catalog.scanned import Listing, ListingDigest
from service.store.catalog.source_access import SourceForbidden, check_source
from service.store.database import Database
from service.store.objects.object_store import ObjectStore, ObjectStoreError
from service.store.source_rules import SourceRules
from service.telemetry import metrics

log = structlog.get_logger("worker")
# How often a worker asks for looks that are due, and how many it has at the same time: they wait for the store.
CLAIM_INTERVAL_S, MAX_LOOKS = 1.0, 8
# Signs of life; three may be missed.
KEEP_INTERVAL_S = 1.5
UNEXPECTED = "the listing failed unexpectedly: the log of the worker says how"
Outcome = Literal["unchanged", "changed", "failed", "lost"]


class Follower:
    """The looks of one worker. Any number of workers share them; each look is one worker's."""

    def __init__(self, database: Database, objects: ObjectStore, rules: SourceRules, worker: str) -> None:
        self._database, self._objects, self._rules, self._worker = database, objects, rules, worker
        self._looks: set[asyncio.Task[None]] = set()

    def periodic_task(self) -> PeriodicTask:
        return PeriodicTask("looks at followed datasets", CLAIM_INTERVAL_S, self.begin_looks)

    async def begin_looks(self) -> None:
        """Take looks that are due, and begin them."""
        if not (free := MAX_LOOKS - len(self._looks)):
            return
        async with self._database.service_transaction() as connection:
            claimed = await follows.claim(connection, self._worker, free)
        for look in claimed:
            task = asyncio.create_task(self._run(look))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def stop(self) -> None:
        """Give up the looks that are under way: other workers take them over."""
        for task in self._looks:
            task.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)

    async def _run(self, look: Look) -> None:
        try:
            outcome = await self.look(look)
        except Exception as error:  # of the database: another look is taken when it is there again
            log.warning("a look is lost", dataset=str(look.dataset), reason=f"{type(error).__name__}: {error}")
            outcome = "lost"
        metrics.LOOKS.labels("whole" if look.whole else "tail", outcome).inc()

    async def look(self, look: Look) -> Outcome:
        """List the dataset's objects, compare, and write what follows from it."""
        async with self._database.service_transaction() as connection:
            dataset = await datasets.get(connection, look.dataset)
        if dataset is None:
            return "lost"
        began = time.monotonic()
        try:
            check_source(dataset, self._rules)
            after = await self._while_kept(look, self._find_change(look, dataset))
        except (ObjectStoreError, SourceForbidden) as error:
            return await self._fail(look, error.detail if isinstance(error, SourceForbidden) else str(error))
        except LookLost:
            return "lost"
        except Exception as error:
            log.error("a followed dataset cannot be looked at", dataset=str(look.dataset), exc_info=error)
            return await self._fail(look, UNEXPECTED)
        async with self._database.service_transaction() as connection:
            return await self._record(connection, look, time.monotonic() - began, after)

    async def _find_change(self, look: Look, dataset: DatasetRow) -> str | None:
        """None if the listing is that of the last scan; else the key up to which it still is, "" if nowhere."""
        if look.listing is None:
            async for _ in self._objects.list(dataset.bucket, dataset.prefix):
                break  # a bucket that is away is not an empty one
            return ""
        known, earlier, grown = look.listing, ListingDigest(), False
        start = "" if look.whole else known.last_key
        async for page in self._objects.list(dataset.bucket, dataset.prefix, start):
            grown = grown or page[-1].key > known.last_key
            earlier.add((info.key, info.etag, info.size) for info in page if info.key <= known.last_key)
            if not look.whole:
                break
        if look.whole and not _is_same(earlier.listing(), known):
            return ""
        return known.last_key if grown else None

    async def _while_kept(self, look: Look, work: Awaitable[str | None]) -> str | None:
        """Do the work and show signs of life meanwhile. Raises LookLost if others may have taken the look."""
        working, keeping = asyncio.ensure_future(work), asyncio.create_task(self._keep(look))
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise LookLost
            return working.result()
        finally:
            keeping.cancel()
            working.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)

    async def _keep(self, look: Look) -> None:
        """Returns when the look is lost, or may be as the database does not answer."""
        kept_at = time.monotonic()
        while True:
            await asyncio.sleep(KEEP_INTERVAL_S)
            try:
                async with asyncio.timeout(kept_at + follows.LOOK_TIMEOUT_S - time.monotonic()):
                    async with self._database.service_transaction() as connection:
                        if not await follows.keep(connection, look):
                            return
                kept_at = time.monotonic()
            except Exception as error:
                log.debug("no sign of life of a look", reason=f"{type(error).__name__}: {error}")
                if time.monotonic() - kept_at >= follows.LOOK_TIMEOUT_S - KEEP_INTERVAL_S:
                    return

    async def _record(self, connection: AsyncConnection, look: Look, seconds: float, after: str | None) -> Outcome:
        # The dataset's row is locked before that of `follows`, as by everybody.
        if await datasets.lock(connection, look.dataset) is None:
            return "lost"
        if not await follows.record_look(connection, look, seconds, changed=after is not None):
            return "lost"
        if after is None:
            return "unchanged"
        await datasets.enqueue_known_scan(connection, look.dataset, after)
        return "changed"

    async def _fail(self, look: Look, problem: str) -> Outcome:
        async with self._database.service_transaction() as connection:
            if not await follows.record_failed_look(connection, look, problem):
                return "lost"
        log.warning("a followed dataset cannot be looked at", dataset=str(look.dataset), reason=problem)
        return "failed"


class LookLost(Exception):
    """The look is another worker's, or nobody follows the dataset any more."""


def _is_same(earlier: Listing, known: Listing) -> bool:
    return (earlier.digest, earlier.objects) == (known.digest, known.objects)

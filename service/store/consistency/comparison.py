"""Compares the service's own bucket with the database: objects that belong to nothing, rows whose objects are gone,
digests by sample, and uploads that never ended. What is found can be repaired, within a limit."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId
from service.plan.render_plan import ObjectRef
from service.store.database import Database, current_time
from service.store.objects.digests import WrittenObject, read_checked
from service.store.objects.keys import segment_key, segment_prefix
from service.store.objects.object_store import ObjectInfo, ObjectNotFound, ObjectStore, UnfinishedUpload
from service.store.renders import lifecycle
from service.store.renders.queries import VIDEO_FILE

# Objects are written before their rows: what is younger may still get one.
GRACE = timedelta(hours=1)
# No upload of ours takes so long.
UPLOAD_GRACE = timedelta(hours=24)
MAX_EXAMPLES, MAX_PARALLEL_READS, PAGE_SIZE = 5, 16, 500
LISTED_PREFIXES = ("renders/", "previews/")
SHARDS = tuple(f"{number:02x}" for number in range(256))

_ID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
# What an object's key says it belongs to: the prefix of all objects of the same, and what tells it apart.
OWNERS = {
    "segment": re.compile(r"(segments/[0-9a-f]{2}/([0-9a-f]{64})\.)"),
    "render": re.compile(rf"(renders/({_ID})/)"),
    "pictured render": re.compile(rf"(previews/{_ID}/({_ID})/)"),
    "dataset": re.compile(rf"(previews/({_ID})/)"),
}
_SELECT_UNKNOWN_RENDERS = """SELECT k.id::text FROM unnest(CAST(:ids AS uuid[])) AS k(id)
    WHERE NOT EXISTS (SELECT FROM renders r WHERE r.id = k.id)"""
SELECT_UNKNOWN = {
    "segment": """SELECT k.id FROM unnest(CAST(:ids AS text[])) AS k(id)
        WHERE NOT EXISTS (SELECT FROM segment_cache c WHERE c.content_key = k.id)
            AND NOT EXISTS (SELECT FROM segments s WHERE s.content_key = k.id)""",
    "render": _SELECT_UNKNOWN_RENDERS,
    "pictured render": _SELECT_UNKNOWN_RENDERS,
    "dataset": """SELECT k.id::text FROM unnest(CAST(:ids AS uuid[])) AS k(id)
        WHERE NOT EXISTS (SELECT FROM datasets d WHERE d.id = k.id)""",
}
SELECT_SCHEDULED = text("SELECT prefix FROM removals WHERE prefix = ANY(:prefixes)")
SELECT_ENTRIES = text("""
    SELECT content_key FROM segment_cache
    WHERE starts_with(content_key, :shard) AND created_at < now() - make_interval(secs => :grace)
""")
SELECT_SAMPLE = text("""
    SELECT content_key, digests ->> 'mp4' AS sha256 FROM segment_cache
    WHERE digests ->> 'mp4' IS NOT NULL ORDER BY random() LIMIT :count
""")
SELECT_RENDERS = text("""
    SELECT id, video_key, poster_key, receipt_key FROM renders
    WHERE status = 'succeeded' AND id > :after AND finished_at < now() - make_interval(secs => :grace)
    ORDER BY id LIMIT :page
""")
SELECT_SOME_RENDERS = text(f"""
    SELECT id, video_key, poster_key, receipt_key FROM renders
    WHERE status = 'succeeded' AND finished_at < now() - interval '{GRACE.total_seconds()} seconds'
    ORDER BY random() LIMIT :count
""")
SCHEDULE_REMOVALS = text("""
    INSERT INTO removals (bucket, prefix) SELECT :bucket, unnest(CAST(:prefixes AS text[])) ON CONFLICT DO NOTHING
""")
DELETE_ENTRIES = text("DELETE FROM segment_cache WHERE content_key = ANY(:keys)")


@dataclass(slots=True)
class Report:
    """What was found. `orphans`: prefix -> bytes of the objects that belong to nothing; `foreign`: keys that the
    service does not write; `lost_segments`, `damaged_segments`: content keys; `lost_files`: render -> keys;
    `unfinished`: uploads that began long ago."""

    objects: int = 0
    bytes: int = 0
    sampled: int = 0
    orphans: dict[str, int] = field(default_factory=dict)
    orphan_objects: int = 0
    foreign: list[str] = field(default_factory=list)
    lost_segments: list[str] = field(default_factory=list)
    damaged_segments: list[str] = field(default_factory=list)
    lost_files: dict[UUID, list[str]] = field(default_factory=dict)
    unfinished: list[UnfinishedUpload] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        lost = self.lost_segments or self.damaged_segments or self.lost_files
        return not (self.orphans or lost or self.unfinished)

    @property
    def orphan_share(self) -> float:
        """The share of all objects that a repair would delete."""
        return self.orphan_objects / self.objects if self.objects else 0.0


async def check_consistency(
    database: Database, objects: ObjectStore, sample: int = 50, grace: timedelta = GRACE
) -> Report:
    """Read the listing of the bucket and the rows; nothing is changed. Memory: one part in 256 of the segments.

    `sample` segments are read and compared with their digests. What is younger than `grace` is left alone; without any,
    nothing may be at work. Raises ObjectStoreError.
    """
    check = Comparison(database, objects, grace)
    for shard in SHARDS:
        await check.compare_shard(shard)
    for prefix in LISTED_PREFIXES:
        await check.examine_prefix(prefix)
    await check.find_lost_files()
    await check.check_digests(sample)
    check.report.unfinished = await list_unfinished_uploads(database, objects)
    return check.report


async def list_unfinished_uploads(database: Database, objects: ObjectStore) -> list[UnfinishedUpload]:
    """Those that began more than UPLOAD_GRACE ago, by the clock of the database. Raises ObjectStoreError."""
    async with database.service_transaction() as connection:
        now = await current_time(connection)
    pages = objects.list_unfinished(now - UPLOAD_GRACE)
    return [upload async for page in pages for upload in page]


@dataclass(slots=True)
class Comparison:
    """What has been compared so far. Objects that are younger than `grace` are no orphans."""

    database: Database
    objects: ObjectStore
    grace: timedelta = GRACE
    report: Report = field(default_factory=Report)

    async def compare_shard(self, shard: str) -> None:
        """The segments whose keys begin with these two digits, both ways."""
        stored: set[str] = set()
        async for page in self.objects.list(self.objects.bucket, f"segments/{shard}/"):
            stored.update(info.key for info in page)
            await self.examine_objects(page)
        async with self.database.service_transaction() as connection:
            rows = await connection.scalars(SELECT_ENTRIES, {"shard": shard, "grace": self.grace.total_seconds()})
            self.report.lost_segments += [key for key in rows if segment_key(key) not in stored]

    async def examine_prefix(self, prefix: str) -> None:
        """Find the objects under the prefix that belong to nothing."""
        async for page in self.objects.list(self.objects.bucket, prefix):
            await self.examine_objects(page)

    async def examine_objects(self, page: Sequence[ObjectInfo]) -> None:
        """Count them, and find those that belong to nothing."""
        self.report.objects += len(page)
        self.report.bytes += sum(info.size for info in page)
        async with self.database.service_transaction() as connection:
            settled = await current_time(connection) - self.grace
        groups: dict[str, dict[str, tuple[str, list[ObjectInfo]]]] = {kind: {} for kind in OWNERS}
        for info in page:
            kind, prefix, owner = _owner_of(info.key)
            if kind is None:
                self.report.foreign.append(info.key)
            elif info.modified < settled:
                groups[kind].setdefault(owner, (prefix, []))[1].append(info)
        async with self.database.service_transaction() as connection:
            for kind, owners in groups.items():
                await self._add_orphans(connection, kind, owners)

    async def _add_orphans(
        self, connection: AsyncConnection, kind: str, owners: dict[str, tuple[str, list[ObjectInfo]]]
    ) -> None:
        if not owners:
            return
        unknown = [owners[key] for key in await connection.scalars(text(SELECT_UNKNOWN[kind]), {"ids": list(owners)})]
        prefixes = [prefix for prefix, _ in unknown]
        scheduled = set(await connection.scalars(SELECT_SCHEDULED, {"prefixes": prefixes}))
        for prefix, infos in unknown:
            if prefix not in scheduled:
                size = sum(info.size for info in infos)
                self.report.orphans[prefix] = self.report.orphans.get(prefix, 0) + size
                self.report.orphan_objects += len(infos)

    async def find_lost_files(self) -> None:
        """Files of finished renders that are not there."""
        async for row in self._finished_renders():
            await self._find_lost_files_of(row)

    async def sample_lost_files(self, count: int) -> None:
        """The same, of some renders at random."""
        async with self.database.service_transaction() as connection:
            rows = (await connection.execute(SELECT_SOME_RENDERS, {"count": count})).all()
        for row in rows:
            await self._find_lost_files_of(row)

    async def _find_lost_files_of(self, row: Any) -> None:
        keys = [key for key in (row.video_key, row.poster_key, row.receipt_key) if key is not None]
        there = await asyncio.gather(*map(self._exists, keys))
        lost = [key for key, exists in zip(keys, there, strict=True) if not exists]
        if lost:
            self.report.lost_files[row.id] = lost

    async def _finished_renders(self) -> AsyncIterator[Any]:
        after = UUID(int=0)
        while True:
            async with self.database.service_transaction() as connection:
                values = {"after": after, "grace": self.grace.total_seconds(), "page": PAGE_SIZE}
                rows = (await connection.execute(SELECT_RENDERS, values)).all()
            for row in rows:
                yield row
            if len(rows) < PAGE_SIZE:
                return
            after = rows[-1].id

    async def _exists(self, key: str) -> bool:
        try:
            await self.objects.head(ObjectRef(self.objects.bucket, key))
        except ObjectNotFound:
            return False
        return True

    async def check_digests(self, count: int) -> None:
        """Read segments at random, and compare them with what was written."""
        async with self.database.service_transaction() as connection:
            rows = (await connection.execute(SELECT_SAMPLE, {"count": count})).all()
        limit = asyncio.Semaphore(MAX_PARALLEL_READS)

        async def check(row: Any) -> None:
            async with limit:
                try:
                    await read_checked(self.objects, WrittenObject(segment_key(row.content_key), row.sha256))
                except ObjectNotFound:
                    self.report.damaged_segments.append(row.content_key)

        await asyncio.gather(*map(check, rows))
        self.report.sampled = len(rows)
        lost = set(self.report.lost_segments)
        self.report.damaged_segments = [key for key in self.report.damaged_segments if key not in lost]


def _owner_of(key: str) -> tuple[str | None, str, str]:
    """Kind, prefix and identifier of what the object belongs to."""
    for kind, pattern in OWNERS.items():
        if found := pattern.match(key):
            return kind, found[1], found[2]
    return None, "", ""


async def repair(database: Database, objects: ObjectStore, report: Report) -> None:
    """Abort uploads that never ended, schedule the removal of orphans, forget segments that are gone or damaged, and
    make lost files of renders again.

    Segments are rendered again when they are needed. Workers do the work.
    """
    for upload in report.unfinished:
        await objects.abort(upload)
    bad = [*report.lost_segments, *report.damaged_segments]
    async with database.service_transaction() as connection:
        await schedule_removals(connection, objects.bucket, report.orphans)
        for keys in _parts(bad):
            await connection.execute(DELETE_ENTRIES, {"keys": keys})
            prefixes = [segment_prefix(key) for key in keys if key in report.damaged_segments]
            await connection.execute(SCHEDULE_REMOVALS, {"bucket": objects.bucket, "prefixes": prefixes})
    for render, keys in report.lost_files.items():
        name = keys[0].rpartition("/")[2]
        file = VIDEO_FILE if name.startswith("video.") else name
        async with database.service_transaction() as connection:
            await lifecycle.remake_render(connection, RenderId(render), file, "the object is gone (found by fsck)")


async def schedule_removals(connection: AsyncConnection, bucket: str, prefixes: Iterable[str]) -> None:
    """Have the objects under these prefixes deleted, unless something uses them by then."""
    for part in _parts(prefixes):
        await connection.execute(SCHEDULE_REMOVALS, {"bucket": bucket, "prefixes": part})


def _parts(values: Iterable[str]) -> list[list[str]]:
    listed = list(values)
    return [listed[start : start + PAGE_SIZE] for start in range(0, len(listed), PAGE_SIZE)]

"""A small part of the comparison of bucket and database every few minutes, by one worker of all: a round takes a day.

Only orphans are removed, and only if they have been there for a day and the last whole round has found few of them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.consistency.comparison import LISTED_PREFIXES, SHARDS, Comparison, Report, schedule_removals
from service.store.database import Database
from service.store.objects.object_store import ObjectStore

# 258 parts a round. A part is one listing, of all renders or previews or of one in 256 segments, and these samples. The
# long ones are first, so that the share of orphans in the round so far means something.
PARTS = (*LISTED_PREFIXES, *SHARDS)
SECONDS_BETWEEN_PARTS = 300
SAMPLED_DIGESTS, SAMPLED_RENDERS = 2, 10
ORPHAN_AGE = timedelta(days=1)
# With a larger share of orphans the settings may name the wrong database or bucket: a person decides, with `fsck`.
MAX_SHARE = 0.2

CLAIM_PART = text("""
    UPDATE consistency_checks SET started_at = now()
    WHERE name = 'bucket' AND started_at <= now() - make_interval(secs => :seconds) RETURNING position
""")
LOCK_ROUND = text("SELECT position, running, finished FROM consistency_checks WHERE name = 'bucket' FOR UPDATE")
RECORD_PART = text("""
    UPDATE consistency_checks SET position = :position, running = :running WHERE name = 'bucket'
""").bindparams(bindparam("running", type_=JSONB))
RECORD_ROUND = text("""
    UPDATE consistency_checks SET position = 0, running = '{}', finished = :running, finished_at = now()
    WHERE name = 'bucket'
""").bindparams(bindparam("running", type_=JSONB))
SELECT_ROUNDS = text("SELECT running, finished, finished_at FROM consistency_checks WHERE name = 'bucket'")

# What is counted, by name; those that are no mere totals are problems.
PROBLEMS = ("orphan_objects", "lost_segments", "damaged_segments", "lost_files")
Counts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings of the last whole round and of the one that is going on, whichever has more of each kind.

    Orphans whose removal is scheduled are none any more.
    """

    counts: Counts
    finished_at: datetime | None

    @property
    def problems(self) -> Counts:
        """Those that are not 0."""
        return {name: count for name in PROBLEMS if (count := self.counts.get(name, 0))}


def count_findings(report: Report, removed: int = 0) -> Counts:
    return {
        "objects": report.objects,
        "sampled": report.sampled,
        "orphan_objects": report.orphan_objects,
        "orphan_bytes": sum(report.orphans.values()),
        "removed_objects": removed,
        "lost_segments": len(report.lost_segments),
        "damaged_segments": len(report.damaged_segments),
        "lost_files": sum(map(len, report.lost_files.values())),
    }


async def compare_next_part(
    database: Database, objects: ObjectStore, pause_s: float = SECONDS_BETWEEN_PARTS
) -> Counts | None:
    """Compare the next part and count what it has found; None if a worker has begun one less than `pause_s` ago.

    A part whose worker fails is compared again. Raises ObjectStoreError.
    """
    async with database.service_transaction() as connection:
        position = await connection.scalar(CLAIM_PART, {"seconds": pause_s})
    if position is None:
        return None
    report = await _compare(database, objects, PARTS[position])
    async with database.service_transaction() as connection:
        row = (await connection.execute(LOCK_ROUND)).one()
        if row.position != position:  # it has taken longer than the pause, and another worker was faster
            return None
        before = row.running
        removed = 0
        if row.finished and all(map(_are_few, (row.finished, _add(before, count_findings(report))))):
            await schedule_removals(connection, objects.bucket, report.orphans)
            removed = report.orphan_objects
        counts = count_findings(report, removed)
        await _record(connection, position, _add(before, counts))
    return counts


async def _compare(database: Database, objects: ObjectStore, part: str) -> Report:
    comparison = Comparison(database, objects, ORPHAN_AGE)
    if part in SHARDS:
        await comparison.compare_shard(part)
    else:
        await comparison.examine_prefix(part)
    await comparison.sample_lost_files(SAMPLED_RENDERS)
    await comparison.check_digests(SAMPLED_DIGESTS)
    return comparison.report


def _are_few(counts: Counts) -> bool:
    """Whether the orphans, also those that were removed, are a small share of the objects."""
    return counts["orphan_objects"] <= MAX_SHARE * counts["objects"]


def _add(before: Counts, more: Counts) -> Counts:
    return {name: before.get(name, 0) + count for name, count in more.items()}


async def _record(connection: AsyncConnection, position: int, running: Counts) -> None:
    if position + 1 == len(PARTS):
        await connection.execute(RECORD_ROUND, {"running": running})
    else:
        await connection.execute(RECORD_PART, {"position": position + 1, "running": running})


async def record_comparison(database: Database, report: Report, *, repaired: bool) -> None:
    """Take what a person has compared as a whole round; what was repaired is no problem any more."""
    counts = count_findings(report, report.orphan_objects if repaired else 0)
    if repaired:
        counts |= dict.fromkeys(("lost_segments", "damaged_segments", "lost_files"), 0)
    async with database.service_transaction() as connection:
        await connection.execute(RECORD_ROUND, {"running": counts})


async def read_findings(connection: AsyncConnection) -> Findings:
    row = (await connection.execute(SELECT_ROUNDS)).one()
    found = [_without_removed(counts) for counts in (row.running, row.finished) if counts]
    counts = {name: max(each[name] for each in found) for name in (found[0] if found else ())}
    return Findings(counts, row.finished_at)


def _without_removed(counts: Counts) -> Counts:
    left = counts["orphan_objects"] - counts["removed_objects"]
    return counts | {"orphan_objects": left, "orphan_bytes": counts["orphan_bytes"] if left else 0}

"""Followed datasets: when each is looked at next, by which worker, and what came of it. All times are the database's.

A look is taken with a lease, as tasks are: whoever has taken it shows signs of life, and writes only while the lease is
his. Looks and scans of one dataset take turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    Table,
    Text,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import bindparam

from service.errors import Conflict
from service.store.catalog.scanned import Listing
from service.store.database import acquire_advisory_lock
from service.store.tables import datasets, experiments, metadata, timestamp_column

# Datasets of one owner that are followed at the same time.
MAX_FOLLOWED = 200
# Seconds between looks: while things change, later, and after an event.
BUSY_GAP_S, IDLE_GAP_S, HINT_GAP_S, BUSY_FOR_S = 3, 6, 1, 60
# Whole listings take at most a fifth of the time; in between, only what is behind the last key is listed. Where that is
# no cheaper, every listing is whole.
WHOLE_SHARE, OBJECTS_OF_ONE_PAGE = 5, 1000
# After failures, gaps double up to the longest.
FIRST_FAILURE_GAP_S, LONGEST_FAILURE_GAP_S = 5, 300
# Whoever shows no sign of life for so long has lost the look.
LOOK_TIMEOUT_S = 6

follows = Table(
    "follows",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    timestamp_column("since"),
    timestamp_column("due_at"),
    timestamp_column("whole_at"),
    Column("hinted", Boolean, nullable=False, server_default=text("false"), comment="by an event, since the last look"),
    Column("lease", BigInteger, nullable=False, server_default="0"),
    Column("worker", Text, comment="who looks now; null: nobody"),
    Column("alive_at", DateTime(timezone=True), comment="the last sign of life of whoever looks now"),
    *(timestamp_column(name, required=False) for name in ("looked_at", "changed_at")),
    Column("listing_s", Double, nullable=False, server_default="0", comment="seconds that a whole listing takes"),
    Column("failures", Integer, nullable=False, server_default="0", comment="looks and scans that failed in a row"),
    Column("problem", Text),
    Column("listing", JSONB, comment="of the last scan: see catalog.scanned"),
    Column("measured", BigInteger, nullable=False, server_default="0", comment="frames when levels were measured"),
    Column("changes", JSONB, nullable=False, server_default=text("'{}'::jsonb"), comment="objects since, by kind"),
)

# Kinds of changes that `changes` counts.
CHANGES = ("appended", "late", "replaced", "vanished")
# What the catalogue shows of it: a column for queries of `datasets`.
SHOWN = ("since", "looked_at", "changed_at", "problem", "changes")
FOLLOW = (
    select(func.jsonb_build_object(*chain.from_iterable((literal(name), follows.c[name]) for name in SHOWN)))
    .where(follows.c.dataset_id == datasets.c.id)
    .correlate(datasets)
    .scalar_subquery()
    .label("follow")
)

COUNT_FOLLOWED = (
    select(func.count())
    .select_from(follows.join(datasets).join(experiments))
    .where(experiments.c.owner == bindparam("owner"), follows.c.dataset_id != bindparam("dataset"))
)
INSERT = text("INSERT INTO follows (dataset_id) VALUES (:dataset) ON CONFLICT (dataset_id) DO NOTHING")
DELETE = text("DELETE FROM follows WHERE dataset_id = :dataset")
CLAIM = text(f"""
    WITH due AS (
        SELECT f.dataset_id FROM follows f
        WHERE f.due_at <= now()
            AND (f.alive_at IS NULL OR f.alive_at < now() - make_interval(secs => {LOOK_TIMEOUT_S}))
            AND NOT EXISTS (SELECT FROM tasks t
                WHERE t.dataset_id = f.dataset_id AND t.kind = 'scan' AND t.state IN ('queued', 'running'))
        ORDER BY f.due_at LIMIT :most FOR UPDATE OF f SKIP LOCKED)
    UPDATE follows f SET lease = lease + 1, worker = :worker, alive_at = now(), hinted = false
    FROM due WHERE f.dataset_id = due.dataset_id
    RETURNING f.dataset_id AS dataset, f.lease, f.listing,
        f.whole_at <= now() OR coalesce((f.listing ->> 'objects')::bigint, 0) < {OBJECTS_OF_ONE_PAGE} AS whole
""")
_OWN = "WHERE dataset_id = :dataset AND lease = :lease AND alive_at IS NOT NULL"
KEEP = text(f"UPDATE follows SET alive_at = now() {_OWN}")
_NEXT = f"""
    now() + make_interval(secs => CASE WHEN hinted THEN {HINT_GAP_S}
        WHEN changed_at > now() - make_interval(secs => {BUSY_FOR_S}) THEN {BUSY_GAP_S} ELSE {IDLE_GAP_S} END)
"""
_LOOKED = f"""
    alive_at = NULL, worker = NULL, looked_at = now(), due_at = {_NEXT},
    listing_s = CASE WHEN :whole THEN CAST(:seconds AS float8) ELSE listing_s END,
    whole_at = CASE WHEN :whole THEN now() + make_interval(
        secs => {WHOLE_SHARE} * CAST(:seconds AS float8)) ELSE whole_at END
"""
RECORD_UNCHANGED = text(f"UPDATE follows SET {_LOOKED}, failures = 0, problem = NULL {_OWN}")
RECORD_CHANGED = text(f"UPDATE follows SET {_LOOKED} {_OWN}")
_FAILED = f"""
    failures = failures + 1, problem = :problem, due_at = now() + make_interval(
        secs => least({FIRST_FAILURE_GAP_S} * 2 ^ least(failures, 20), {LONGEST_FAILURE_GAP_S}))
"""
RECORD_FAILED_LOOK = text(f"UPDATE follows SET alive_at = NULL, worker = NULL, {_FAILED} {_OWN}")
RECORD_FAILED_SCAN = text(f"UPDATE follows SET {_FAILED} WHERE dataset_id = :dataset")
LOCK = text("SELECT listing, measured FROM follows WHERE dataset_id = :dataset FOR UPDATE")
RECORD_SCAN = text(f"""
    UPDATE follows SET listing = :listing, measured = coalesce(:measured, measured), failures = 0, problem = NULL,
        changed_at = CASE WHEN :changed THEN now() ELSE changed_at END,
        changes = (SELECT jsonb_object_agg(key, value::bigint + coalesce((changes ->> key)::bigint, 0))
            FROM jsonb_each_text(:changes)),
        due_at = CASE WHEN hinted THEN now() + make_interval(secs => {HINT_GAP_S})
            ELSE now() + make_interval(secs => greatest({BUSY_GAP_S}, CAST(:seconds AS float8))) END
    WHERE dataset_id = :dataset
""").bindparams(bindparam("listing", type_=JSONB(none_as_null=True)), bindparam("changes", type_=JSONB()))
# An event about a key that was listed before calls for a whole listing, but not for one after the other. After
# failures, looks keep their gaps.
# Rows are locked in one order, so that no two events wait for each other.
HINT = text(f"""
    WITH matched AS (
        SELECT d.id, bool_and(e.key > coalesce(w.listing ->> 'last_key', '') COLLATE "C") AS behind
        FROM unnest(CAST(:buckets AS text[]), CAST(:keys AS text[])) AS e(bucket, key)
        JOIN datasets d ON d.bucket = e.bucket AND starts_with(e.key, d.prefix)
        JOIN follows w ON w.dataset_id = d.id GROUP BY d.id),
    locked AS MATERIALIZED (
        SELECT w.dataset_id FROM follows w WHERE w.dataset_id IN (SELECT id FROM matched) AND NOT w.hinted
            AND w.failures = 0 ORDER BY w.dataset_id FOR UPDATE)
    UPDATE follows f SET hinted = true, due_at = least(due_at, now()),
        whole_at = CASE WHEN matched.behind THEN whole_at
            ELSE least(whole_at, whole_at - make_interval(secs => {WHOLE_SHARE - 1} * listing_s)) END
    FROM matched, locked WHERE f.dataset_id = matched.id AND locked.dataset_id = matched.id
""")


@dataclass(frozen=True, slots=True)
class Look:
    """A look that a worker has taken. `listing` is that of the last scan, None before the first; `whole`: everything
    is to be listed."""

    dataset: UUID
    lease: int
    whole: bool
    listing: Listing | None


async def follow(connection: AsyncConnection, dataset: UUID, owner: str) -> None:
    """Follow the dataset from now on, if it is not followed yet. Raises Conflict if too many of the owner's are."""
    await acquire_advisory_lock(connection, f"follows of {owner}")
    if int(await connection.scalar(COUNT_FOLLOWED, {"owner": owner, "dataset": dataset}) or 0) >= MAX_FOLLOWED:
        raise Conflict(f"{MAX_FOLLOWED} datasets of this owner are followed: unfollow one where nothing comes any more")
    await connection.execute(INSERT, {"dataset": dataset})


async def unfollow(connection: AsyncConnection, dataset: UUID) -> None:
    """Whoever looks at this moment writes nothing any more."""
    await connection.execute(DELETE, {"dataset": dataset})


async def claim(connection: AsyncConnection, worker: str, most: int) -> list[Look]:
    """Take up to so many looks that are due; no other worker has them."""
    found = (await connection.execute(CLAIM, {"worker": worker, "most": most})).mappings()
    return [Look(row["dataset"], row["lease"], row["whole"], to_listing(row["listing"])) for row in found]


def to_listing(value: dict[str, Any] | None) -> Listing | None:
    """From the column of that name."""
    return None if value is None else Listing(**value)


async def keep(connection: AsyncConnection, look: Look) -> bool:
    """A sign of life. False if the look was lost, or ended with its dataset."""
    return bool((await connection.execute(KEEP, {"dataset": look.dataset, "lease": look.lease})).rowcount)


async def record_look(connection: AsyncConnection, look: Look, seconds: float, *, changed: bool) -> bool:
    """The listing took so long, and differs from the last scan's or not. False if the look was lost."""
    values = {"dataset": look.dataset, "lease": look.lease, "whole": look.whole, "seconds": seconds}
    return bool((await connection.execute(RECORD_CHANGED if changed else RECORD_UNCHANGED, values)).rowcount)


async def record_failed_look(connection: AsyncConnection, look: Look, problem: str) -> bool:
    """The next look comes after a longer gap. False if the look was lost."""
    values = {"dataset": look.dataset, "lease": look.lease, "problem": problem}
    return bool((await connection.execute(RECORD_FAILED_LOOK, values)).rowcount)


async def record_failed_scan(connection: AsyncConnection, dataset: UUID, problem: str) -> None:
    """The next look, which finds the same change, comes after a longer gap."""
    await connection.execute(RECORD_FAILED_SCAN, {"dataset": dataset, "problem": problem})


@dataclass(frozen=True, slots=True)
class FollowState:
    """What the last scan of a followed dataset has left: its listing, and of how many frames levels were measured."""

    listing: Listing | None
    measured: int


async def lock(connection: AsyncConnection, dataset: UUID) -> FollowState | None:
    """The row of the dataset, locked until the transaction ends; None if it is not followed."""
    row = (await connection.execute(LOCK, {"dataset": dataset})).first()
    return None if row is None else FollowState(to_listing(row.listing), row.measured)


@dataclass(frozen=True, slots=True)
class FollowedScan:
    """How a scan of a followed dataset ended: what it listed (None: unknown), the objects that changed, by kind, and
    the seconds it took. `measured`: of how many frames it measured the levels; None if it did not."""

    listing: Listing | None
    changes: dict[str, int]
    seconds: float
    measured: int | None


async def record_scan(connection: AsyncConnection, dataset: UUID, scan: FollowedScan) -> None:
    values = {
        "dataset": dataset,
        "listing": None if scan.listing is None else scan.listing._asdict(),
        "measured": scan.measured,
        "changed": any(scan.changes.values()),
        "changes": scan.changes,
        "seconds": scan.seconds,
    }
    await connection.execute(RECORD_SCAN, values)


async def hint(connection: AsyncConnection, objects: Sequence[tuple[str, str]]) -> int:
    """Something has happened to these (bucket, key): have the followed datasets that they belong to looked at now.

    Returns how many these are, without those that are hinted already.
    """
    buckets, keys = [bucket for bucket, _ in objects], [key for _, key in objects]
    return (await connection.execute(HINT, {"buckets": buckets, "keys": keys})).rowcount

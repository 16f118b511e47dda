"""What a scan of a followed dataset takes over from the last one: frames of objects that have not changed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.names.natural_sort import natural_key, trailing_number
from service.store.catalog.scanned import ScannedFrame, time_columns
from service.store.tables import sources

ROWS_PER_READ = 1000
_COLUMNS = """key, etag, size, format, width, height, captured_at, problem, page, page_offset, bits, gray, form,
    captured_named"""
DROP_KNOWN = text("DROP TABLE IF EXISTS pg_temp.known_frames")
# Frames that an earlier version has scanned are scanned again, and those that may be read another time.
CREATE_KNOWN = text(f"""
    CREATE TEMP TABLE known_frames AS
    SELECT {_COLUMNS} FROM frames
    WHERE dataset_id = :dataset AND captured_named IS NOT NULL AND (problem IS NULL OR problem <> ALL(:passing))
        AND key COLLATE "C" > :after
""")
INDEX_KNOWN = text("CREATE INDEX ON known_frames (key)")
SELECT_KNOWN = text(f"""
    SELECT {_COLUMNS} FROM known_frames JOIN unnest(
        CAST(:keys AS text[]), CAST(:etags AS text[]), CAST(:sizes AS bigint[])) AS listed(key, etag, size)
        USING (key, etag, size)
""")
SELECT_UP_TO = text(f"""
    SELECT {_COLUMNS} FROM frames
    WHERE dataset_id = :dataset AND index >= :start AND index < :start + {ROWS_PER_READ}
        AND key COLLATE "C" <= :after
""")
SELECT_LAST = text("SELECT key, index AS place FROM frames WHERE dataset_id = :dataset ORDER BY index DESC LIMIT 1")
# Where names tell times, each new name may change what all of them mean.
ARE_LAST = text("""
    SELECT NOT EXISTS (SELECT FROM frames WHERE dataset_id = :dataset
            AND (captured_named IS DISTINCT FROM false OR key COLLATE "C" > :after))
        AND NOT EXISTS (SELECT FROM scanned_frames
            WHERE (sort_key, key) <= (CAST(:last_sort_key AS text) COLLATE "C", CAST(:last_key AS text) COLLATE "C"))
        AND (EXISTS (SELECT FROM scanned_frames WHERE named_at IS NULL) OR NOT EXISTS (SELECT FROM scanned_frames))
""")
COUNT_NEW = text("SELECT count(DISTINCT key) AS appended, 0 AS late, 0 AS replaced, 0 AS vanished FROM scanned_frames")
COUNT_CHANGES = text("""
    WITH old AS (
        SELECT key COLLATE "C" AS key, max(etag) AS etag, max(size) AS size FROM frames
        WHERE dataset_id = :dataset GROUP BY 1),
    new AS (SELECT key, max(sort_key) AS sort_key, max(etag) AS etag, max(size) AS size FROM scanned_frames GROUP BY 1),
    both_ AS (
        SELECT old.key IS NULL AS is_new, new.key IS NULL AS is_gone,
            (old.etag, old.size) IS DISTINCT FROM (new.etag, new.size) AS differs,
            (new.sort_key, new.key) > (CAST(:last_sort_key AS text) COLLATE "C", CAST(:last_key AS text) COLLATE "C")
                AS is_last
        FROM old FULL JOIN new ON old.key = new.key)
    SELECT count(*) FILTER (WHERE is_new AND is_last) AS appended,
        count(*) FILTER (WHERE is_new AND NOT is_last) AS late,
        count(*) FILTER (WHERE NOT is_new AND NOT is_gone AND differs) AS replaced,
        count(*) FILTER (WHERE is_gone) AS vanished
    FROM both_
""")


async def prepare_known(connection: AsyncConnection, dataset: UUID, after: str, passing: Sequence[str]) -> None:
    """Create the temporary table for `find_known`, of the keys behind `after`. Frames whose problem is one of `passing`
    are not known."""
    await connection.execute(DROP_KNOWN)
    await connection.execute(CREATE_KNOWN, {"dataset": dataset, "after": after, "passing": list(passing)})
    await connection.execute(INDEX_KNOWN)
    await connection.commit()


async def find_known(connection: AsyncConnection, objects: Sequence[tuple[str, str, int]]) -> list[ScannedFrame]:
    """The frames of these objects, given as (key, etag, size), that the last scan has found in the same versions."""
    keys, etags, sizes = (list(column) for column in zip(*objects, strict=True)) if objects else ([], [], [])
    found = await connection.execute(SELECT_KNOWN, {"keys": keys, "etags": etags, "sizes": sizes})
    rows = [_known_frame(row) for row in found.mappings()]
    await connection.commit()
    return rows


async def frames_up_to(connection: AsyncConnection, dataset: UUID, after: str) -> AsyncIterator[list[ScannedFrame]]:
    """All frames whose keys are not behind `after`, in parts."""
    last = (await connection.execute(SELECT_LAST, {"dataset": dataset})).first()
    for start in range(0, last.place + 1 if last else 0, ROWS_PER_READ):
        found = await connection.execute(SELECT_UP_TO, {"dataset": dataset, "start": start, "after": after})
        rows = [_known_frame(row) for row in found.mappings()]
        await connection.commit()
        if rows:
            yield rows
    await connection.commit()


def _known_frame(row: RowMapping) -> ScannedFrame:
    """As the scan found it: what it took from the name, this takes from the name."""
    facts = {name: value for name, value in row.items() if name not in ("captured_named", "captured_at")}
    return ScannedFrame(
        sort_key=natural_key(row["key"]),
        number=trailing_number(row["key"]) if row["page"] is None else None,
        captured_at=None if row["captured_named"] else row["captured_at"],
        **facts,
        **time_columns(row["key"]),
    )


async def are_last(connection: AsyncConnection, dataset: UUID, after: str) -> bool:
    """Whether the staged frames sort behind those of the dataset, whose keys are not behind `after`, and change nothing
    about them."""
    values = await _last_frame(connection, dataset) | {"after": after}
    found = bool(await connection.scalar(ARE_LAST, values))
    await connection.commit()
    return found


async def count_frame_changes(connection: AsyncConnection, dataset: UUID, *, only_new: bool) -> dict[str, int]:
    """How many objects the staged frames add at the end (`appended`) or before (`late`), replace, and lack.

    `only_new`: they are to be appended.
    """
    if only_new:
        return dict((await connection.execute(COUNT_NEW)).mappings().one())
    return dict((await connection.execute(COUNT_CHANGES, await _last_frame(connection, dataset))).mappings().one())


async def _last_frame(connection: AsyncConnection, dataset: UUID) -> dict[str, Any]:
    last = (await connection.execute(SELECT_LAST, {"dataset": dataset})).first()
    last_key = last.key if last else ""
    return {"dataset": dataset, "last_key": last_key, "last_sort_key": natural_key(last_key)}


async def count_source_changes(
    connection: AsyncConnection, dataset: UUID, rows: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """The same for source videos, which `rows` are to replace."""
    query = select(sources.c.key, sources.c.etag, sources.c.size).where(sources.c.dataset_id == dataset)
    old = {row.key: (row.etag, row.size) for row in await connection.execute(query)}
    new = {row["key"]: (row["etag"], row["size"]) for row in rows}
    last = max(((natural_key(key), key) for key in old), default=("", ""))
    added = [(natural_key(key), key) > last for key in new.keys() - old.keys()]
    replaced = sum(old[key] != new[key] for key in new.keys() & old.keys())
    gone = len(old.keys() - new.keys())
    return {"appended": sum(added), "late": len(added) - sum(added), "replaced": replaced, "vanished": gone}

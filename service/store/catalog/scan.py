"""The database side of a scan: frames are staged in a temporary table, then replace a dataset's rows in one
transaction.
"""

import hashlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.names.time_names import NamedTimes
from service.store.catalog.cadence import measure_cadence
from service.store.catalog.datasets import DatasetRow, fetch_dataset
from service.store.catalog.scanned import COLUMNS, MAX_PROBLEMS, ScannedFrame, digest_line
from service.store.tables import datasets, frames, sources

CREATE_STAGING = text("""
    CREATE TEMP TABLE scanned_frames (
        sort_key text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, number bigint, size bigint NOT NULL,
        etag text NOT NULL, format text, width integer, height integer, captured_at timestamptz, problem text,
        page integer, page_offset bigint, bits integer, gray boolean, form text,
        named_at timestamptz, named_kind text, named_number boolean)
""")
DROP_STAGING = text("DROP TABLE IF EXISTS pg_temp.scanned_frames")
_FRAME_COLUMNS = """key, number, size, etag, format, width, height, captured_at, problem, page, page_offset, bits, gray,
    form, captured_named"""


def _columns_of(table: str) -> str:
    return ", ".join(f"{table}.{name.strip()}" for name in _FRAME_COLUMNS.split(","))


# Without a time of their own, frames have that in their name, if `:named`.
_SELECT_FRAMES = """
    SELECT row_number() OVER (ORDER BY sort_key, key, page) - 1 AS index,
        key, CASE WHEN :named AND named_number THEN NULL ELSE number END AS number, size, etag, format, width, height,
        CASE WHEN :named THEN coalesce(captured_at, named_at) ELSE captured_at END AS captured_at,
        problem, page, page_offset, bits, gray, form,
        :named AND captured_at IS NULL AND named_at IS NOT NULL AS captured_named
    FROM scanned_frames
"""
INSERT_FRAMES = text(f"""
    INSERT INTO frames (dataset_id, index, {_FRAME_COLUMNS}) SELECT :dataset, f.* FROM ({_SELECT_FRAMES}) f
""")
APPEND_FRAMES = text(f"""
    INSERT INTO frames (dataset_id, index, {_FRAME_COLUMNS})
    SELECT :dataset, index + (SELECT coalesce(max(index) + 1, 0) FROM frames WHERE dataset_id = :dataset),
        {_FRAME_COLUMNS}
    FROM ({_SELECT_FRAMES}) f
""")
PLACE_FRAMES = text(f"CREATE TEMP TABLE placed_frames ON COMMIT DROP AS {_SELECT_FRAMES}")
ANALYZE_PLACED = text("ANALYZE placed_frames")
# Most frames of a dataset that grows are as they were: they are not written again.
DELETE_CHANGED = text(f"""
    DELETE FROM frames f WHERE dataset_id = :dataset AND NOT EXISTS (
        SELECT FROM placed_frames p
        WHERE p.index = f.index AND ({_columns_of("p")}) IS NOT DISTINCT FROM ({_columns_of("f")}))
""")
INSERT_CHANGED = text(f"""
    INSERT INTO frames (dataset_id, index, {_FRAME_COLUMNS}) SELECT :dataset, p.* FROM placed_frames p
    WHERE NOT EXISTS (SELECT FROM frames f WHERE f.dataset_id = :dataset AND f.index = p.index)
""")
# Frames whose samples a screen cannot show as they are: deeper than 8 bits, or described ("8-bit signed samples").
_IS_DEEP = "(bits > 8 OR form LIKE '%samples%')"
SELECT_NAMED_TIMES = text("""
    WITH steps AS (
        SELECT named_at, named_kind, captured_at, number - lag(number) OVER names AS step,
            named_at - lag(named_at) OVER names AS pause
        FROM scanned_frames WINDOW names AS (ORDER BY sort_key, key, page)),
    usual AS (SELECT step, count(*) AS times FROM steps WHERE step IS NOT NULL GROUP BY step ORDER BY 2 DESC, 1 LIMIT 1)
    SELECT count(*) AS frames, count(named_at) AS named, count(DISTINCT named_at) AS moments,
        coalesce(bool_or(named_kind = 'date'), false) AS doubtful,
        coalesce(bool_or(named_kind = 'unix'), false) AS unix,
        (SELECT step FROM usual) AS usual_step, coalesce((SELECT times FROM usual), 0) AS usual_steps,
        coalesce((SELECT count(*) FROM steps WHERE pause IS NOT NULL GROUP BY pause ORDER BY 1 DESC LIMIT 1), 0)
            AS usual_pauses
    FROM steps
""")
SELECT_SAMPLE = text(f"""
    WITH numbered AS (
        SELECT key, etag, size, page, page_offset, bits, row_number() OVER (ORDER BY sort_key, key, page) - 1 AS place,
            count(*) OVER () AS total
        FROM scanned_frames
        WHERE problem IS NULL AND CASE WHEN EXISTS (SELECT FROM scanned_frames WHERE {_IS_DEEP})
            THEN {_IS_DEEP} ELSE gray END)
    SELECT DISTINCT ON (place * :count / total) key, etag, size, page, page_offset, bits
    FROM numbered ORDER BY place * :count / total, place
""")
SELECT_TOTALS = text("""
    SELECT count(*) AS frame_count, coalesce(sum(size) FILTER (WHERE coalesce(page, 0) = 0), 0)::bigint AS bytes,
        count(problem) AS unreadable_frames,
        min(captured_at) AS captured_from, max(captured_at) AS captured_to,
        coalesce(array_agg(DISTINCT format) FILTER (WHERE format IS NOT NULL), '{}') AS formats
    FROM frames WHERE dataset_id = :dataset
""")
COUNT_PIXEL_FORMATS = text("""
    SELECT form, count(*) AS count FROM frames WHERE dataset_id = :dataset AND form IS NOT NULL GROUP BY form
""")
COUNT_SIZES = text("""
    SELECT width, height, count(*) AS count FROM frames WHERE dataset_id = :dataset AND width IS NOT NULL
    GROUP BY width, height ORDER BY count(*) DESC, width::bigint * height DESC, width LIMIT 1000
""")
COUNT_PROBLEMS = text(f"""
    SELECT problem AS reason, count(*) AS count, min(key) AS example FROM frames
    WHERE dataset_id = :dataset AND problem IS NOT NULL GROUP BY problem ORDER BY 2 DESC, 3 LIMIT {MAX_PROBLEMS}
""")
NUMBER_STEPS = """
    WITH steps AS (
        SELECT index, number, lag(number) OVER (ORDER BY index) AS before,
            number - lag(number) OVER (ORDER BY index) AS step
        FROM frames WHERE dataset_id = :dataset)
"""
SELECT_STRIDE = text(
    NUMBER_STEPS
    + """,
    usual AS (
        SELECT step AS stride, count(*) AS times FROM steps WHERE step > 0 GROUP BY step ORDER BY 2 DESC, 1 LIMIT 1)
    SELECT stride, times, count(*) - 1 AS differences, min(number) FILTER (WHERE index = 0) AS first,
        coalesce(bool_and(step IS NOT NULL AND step > 0 AND step % stride = 0) FILTER (WHERE index > 0), false) AS even
    FROM steps CROSS JOIN usual GROUP BY stride, times
"""
)
SELECT_GAPS = text(
    NUMBER_STEPS
    + """
    SELECT index - 1 AS after_index, before + :stride AS number, step / :stride - 1 AS count
    FROM steps WHERE step / :stride > 1 ORDER BY index LIMIT 100
"""
)
COUNT_GAP_FRAMES = text(
    NUMBER_STEPS
    + """
    SELECT least(coalesce(sum(step / :stride - 1), 0), 9223372036854775807)::bigint FROM steps WHERE step / :stride > 1
"""
)


async def begin_scan(connection: AsyncConnection, dataset: UUID) -> DatasetRow | None:
    """Mark the dataset as being scanned; None if it was deleted."""
    query = update(datasets).where(datasets.c.id == dataset).values(state="scanning", error=None, scanned=0)
    return await fetch_dataset(connection, query.returning(datasets))


async def create_staging_table(connection: AsyncConnection) -> None:
    """Create the temporary table, which lives as long as the connection, across its transactions."""
    await connection.execute(DROP_STAGING)
    await connection.execute(CREATE_STAGING)
    await connection.commit()


async def copy_to_staging(connection: AsyncConnection, batch: Sequence[ScannedFrame]) -> None:
    """COPY a batch, outside of a transaction: none stays open while the next batch is read from the store."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    await driver.copy_records_to_table("scanned_frames", records=[row.to_record() for row in batch], columns=COLUMNS)


async def sample_frames(connection: AsyncConnection, count: int) -> list[RowMapping]:
    """Up to `count` staged frames, evenly spread: of those deeper than 8 bits if there are any, else of gray ones."""
    rows = list((await connection.execute(SELECT_SAMPLE, {"count": count})).mappings())
    await connection.commit()
    return rows


async def lock_dataset(connection: AsyncConnection, dataset: UUID) -> bool:
    """Be the only scan that writes to the dataset until the transaction ends; False if it was deleted."""
    query = select(datasets.c.id).where(datasets.c.id == dataset).with_for_update(key_share=True)
    return await connection.scalar(query) is not None


async def names_have_times(connection: AsyncConnection) -> bool:
    """Whether the names of the staged frames say when they were captured."""
    if await connection.scalar(text("SELECT EXISTS (SELECT FROM scanned_frames WHERE named_at IS NULL)")):
        return False
    row = (await connection.execute(SELECT_NAMED_TIMES)).mappings().one()
    return NamedTimes(**row).are_times


async def replace_frames(connection: AsyncConnection, dataset: UUID) -> bool:
    """Replace the dataset's frames by the staged ones, and drop the staging table.

    Times in names are the capture times of frames that have no other, and their digits number nothing. Returns whether
    there are such.
    """
    await _delete_rows(connection, dataset)
    named = await names_have_times(connection)
    await connection.execute(INSERT_FRAMES, {"dataset": dataset, "named": named})
    await connection.execute(DROP_STAGING)
    return named


async def append_frames(connection: AsyncConnection, dataset: UUID) -> bool:
    """Write the staged frames behind the others: see `known_frames.are_last`."""
    await connection.execute(APPEND_FRAMES, {"dataset": dataset, "named": False})
    await connection.execute(DROP_STAGING)
    return False


async def update_frames(connection: AsyncConnection, dataset: UUID) -> bool:
    """As `replace_frames`, for a dataset of which little has changed: only rows that differ are written."""
    named = await names_have_times(connection)
    values = {"dataset": dataset, "named": named}
    await connection.execute(PLACE_FRAMES, values)
    await connection.execute(ANALYZE_PLACED)
    for statement in (DELETE_CHANGED, INSERT_CHANGED):
        await connection.execute(statement, {"dataset": dataset})
    await connection.execute(DROP_STAGING)
    return named


async def replace_sources(connection: AsyncConnection, dataset: UUID, rows: Sequence[dict[str, Any]]) -> None:
    """Replace the dataset's source videos; `rows` have the columns of `sources` without `dataset_id`."""
    await _delete_rows(connection, dataset)
    if rows:
        await connection.execute(insert(sources), [{"dataset_id": dataset, **row} for row in rows])


async def _delete_rows(connection: AsyncConnection, dataset: UUID) -> None:
    for table in (frames, sources):
        await connection.execute(delete(table).where(table.c.dataset_id == dataset))


async def summarize_frames(connection: AsyncConnection, dataset: UUID, *, named: bool = False) -> dict[str, Any]:
    """Values for columns of `datasets`, computed from the rows in `frames`; `named`: their names have times."""
    totals = (await connection.execute(SELECT_TOTALS, {"dataset": dataset})).mappings().one()
    sizes = [dict(row) for row in (await connection.execute(COUNT_SIZES, {"dataset": dataset})).mappings()]
    usual = sizes[0] if sizes else {"width": None, "height": None}
    forms = {row.form: row.count for row in await connection.execute(COUNT_PIXEL_FORMATS, {"dataset": dataset})}
    cadence = await measure_cadence(connection, dataset, named=named)
    facts = dict(totals) | {
        "cadence": cadence,
        "sizes": sizes,
        "width": usual["width"],
        "height": usual["height"],
        "forms": forms,
    }
    return facts | await _numbering_facts(connection, dataset) | {"digest": await _digest(connection, dataset)}


async def count_problems(connection: AsyncConnection, dataset: UUID) -> list[dict[str, Any]]:
    """The most frequent reasons why frames cannot be read: `reason`, `count`, and a key as `example`."""
    return [dict(row) for row in (await connection.execute(COUNT_PROBLEMS, {"dataset": dataset})).mappings()]


async def first_problem(connection: AsyncConnection, dataset: UUID) -> str | None:
    query = select(frames.c.problem).where(frames.c.dataset_id == dataset, frames.c.problem.is_not(None))
    return await connection.scalar(query.order_by(frames.c.index).limit(1))


async def _numbering_facts(connection: AsyncConnection, dataset: UUID) -> dict[str, Any]:
    """The gaps of a regular numbering; first number and stride only if every frame fits into it."""
    facts: dict[str, Any] = {"gaps": [], "gap_frames": 0, "number_first": None, "number_stride": None}
    row = (await connection.execute(SELECT_STRIDE, {"dataset": dataset})).mappings().first()
    if row is None or not is_regular_numbering(row["times"], row["differences"]):
        return facts
    values = {"dataset": dataset, "stride": row["stride"]}
    facts["gaps"] = [dict(gap) for gap in (await connection.execute(SELECT_GAPS, values)).mappings()]
    facts["gap_frames"] = await connection.scalar(COUNT_GAP_FRAMES, values)
    if row["even"]:
        facts |= {"number_first": row["first"], "number_stride": row["stride"]}
    return facts


def is_regular_numbering(times: int, differences: int) -> bool:
    """Whether `times` of the differences equal the stride: nine in ten, or all but one of a short sequence."""
    return times >= 2 and differences - times <= max(1, differences // 10)


async def _digest(connection: AsyncConnection, dataset: UUID) -> str:
    """sha256 (hex) over the ordered (key, etag, size), streamed."""
    query = select(frames.c.key, frames.c.etag, frames.c.size).where(frames.c.dataset_id == dataset)
    digest = hashlib.sha256()
    async for row in await connection.stream(query.order_by(frames.c.index)):
        digest.update(digest_line(row.key, row.etag, row.size))
    return digest.hexdigest()


async def update_dataset(connection: AsyncConnection, dataset: UUID, facts: dict[str, Any]) -> None:
    query = update(datasets).where(datasets.c.id == dataset)
    await connection.execute(query.values(**facts, updated_at=text("now()")))

"""The usual time between the frames of a dataset, and where frames are missing by it."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# A longer pause, in intervals, is one of the camera (a night): nothing is missing in it.
MAX_MISSING = 100
# So many of the pauses must be within a quarter of the interval.
_REGULAR_SHARE = 0.8
MAX_LISTED_GAPS = 100

# Frames in order, with the microseconds since the frame before; `:dataset`.
PAUSES = """
    (SELECT *, extract(epoch FROM captured_at - lag(captured_at) OVER (ORDER BY index)) * 1000000 AS pause
        FROM frames WHERE dataset_id = :dataset) paused
"""
# How many frames are missing before a row of PAUSES; `:interval` in microseconds.
MISSING_BEFORE = f"""
    CASE WHEN pause >= 1.5 * CAST(:interval AS bigint)
        AND round(pause / CAST(:interval AS bigint)) <= {MAX_MISSING + 1}
    THEN round(pause / CAST(:interval AS bigint))::bigint - 1 ELSE 0 END
"""
SELECT_INTERVAL = text(f"""
    SELECT count(*) AS frames, count(captured_at) AS timed,
        (percentile_disc(0.5) WITHIN GROUP (ORDER BY pause) FILTER (WHERE pause > 0))::bigint AS interval
    FROM {PAUSES}
""")
SELECT_PAUSES = text(f"""
    SELECT count(*) FILTER (WHERE pause BETWEEN 0.75 * CAST(:interval AS bigint) AND 1.25 * CAST(:interval AS bigint))
            AS usual,
        coalesce(sum({MISSING_BEFORE}), 0)::bigint AS missing,
        count(*) FILTER (WHERE round(pause / CAST(:interval AS bigint)) > {MAX_MISSING + 1}) AS pauses
    FROM {PAUSES}
""")
SELECT_GAPS = text(f"""
    SELECT index - 1 AS after_index, missing AS count
    FROM (SELECT index, {MISSING_BEFORE} AS missing FROM {PAUSES}) counted
    WHERE missing > 0 ORDER BY index LIMIT {MAX_LISTED_GAPS}
""")


async def measure_cadence(connection: AsyncConnection, dataset: UUID, *, named: bool) -> dict[str, Any] | None:
    """The fields of `facts.Cadence`; None unless all frames have a capture time and most follow at one interval."""
    values: dict[str, Any] = {"dataset": dataset}
    row = (await connection.execute(SELECT_INTERVAL, values)).mappings().one()
    if row["frames"] < 3 or row["timed"] < row["frames"] or not row["interval"]:
        return None
    values["interval"] = row["interval"]
    pauses = (await connection.execute(SELECT_PAUSES, values)).mappings().one()
    if pauses["usual"] < _REGULAR_SHARE * (row["frames"] - 1):
        return None
    gaps = [dict(gap) for gap in (await connection.execute(SELECT_GAPS, values)).mappings()]
    counts = {"missing": pauses["missing"], "pauses": pauses["pauses"]}
    return {"interval_us": row["interval"], "from_names": named, "gaps": gaps} | counts

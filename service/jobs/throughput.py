"""How fast the queue is worked off, measured by its rows: what `Retry-After` says when a bound is reached."""

import math

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import Subject
from service.jobs.leases import TaskKind

# The last minutes say how fast it goes now. A few seconds are too short to say anything.
WINDOW_S, MIN_SPAN_S = 300, 10
# When nothing has ended lately; and the limits of what callers are told, whatever was measured.
UNKNOWN_S, LONGEST_S = 30, 600

# Of segments, frames are counted. `own` is what was done for the subject; a task of a render is done for all who asked.
SELECT_DONE = text(f"""
    SELECT coalesce(sum(done), 0)::float8 AS done, coalesce(sum(done) FILTER (WHERE own), 0)::float8 AS own,
        greatest(extract(epoch FROM now() - min(finished_at)), {MIN_SPAN_S})::float8 AS span_s,
        count(DISTINCT owner) AS owners
    FROM (
        SELECT t.finished_at, CASE t.kind WHEN 'segment' THEN t.progress ELSE 1 END AS done,
            coalesce(r.owner, t.owner) AS owner,
            t.owner = :subject OR EXISTS (
                SELECT FROM requesters q WHERE q.render_id = t.render_id AND q.subject = :subject) AS own
        FROM tasks t LEFT JOIN renders r ON r.id = t.render_id
        WHERE t.kind = :kind AND t.state = 'succeeded' AND t.finished_at > now() - make_interval(secs => {WINDOW_S})
    ) ended
""")


async def retry_after(
    connection: AsyncConnection, kind: TaskKind, subject: Subject | None, work: float = 1.0
) -> dict[str, str]:
    """The header for a caller who has to wait until so much work is done: tasks of this kind, or frames of segments.

    At the rate at which the subject's own tasks ended lately; if none did, at an equal share of what ended for all.
    None: at the rate of all.
    """
    row = (await connection.execute(SELECT_DONE, {"kind": kind, "subject": subject})).one()
    done = row.done if subject is None else row.own or row.done / (row.owners + 1)
    wait_s = work * row.span_s / done if done else UNKNOWN_S
    if not math.isfinite(wait_s):
        wait_s = UNKNOWN_S
    return {"Retry-After": str(min(max(math.ceil(wait_s), 1), LONGEST_S))}

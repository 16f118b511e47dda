"""How many unfinished renders a caller may have, and all callers together; when to come back if there is no place.

The k-th unfinished render of a caller is accepted only while at least k places are free: the more of all places are
taken, the fewer one caller may have. So a caller alone takes half of them at most, the last one goes to somebody who
has none, and whoever has none is refused only if every place is taken. Files that are made again because they were lost
take no place: nobody asked for them anew."""

import math

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import QueueFull, ReelmillError, TooManyRequests
from service.ids import Subject
from service.jobs.throughput import retry_after
from service.plan.facts import RenderLimits
from service.store.database import acquire_advisory_lock

_UNFINISHED = "r.status IN ('queued', 'running') AND (r.remake IS NULL OR r.remake ? 'retried')"
COUNT_UNFINISHED = text(f"""
    SELECT (SELECT count(*) FROM renders r WHERE {_UNFINISHED}) AS of_all,
        (SELECT count(*) FROM requesters q JOIN renders r ON r.id = q.render_id
            WHERE q.subject = :subject AND {_UNFINISHED}) AS of_caller
""")
# Output frames that are left of the unfinished renders which the subject asked for (null: of all), and of how many.
SELECT_WORK_LEFT = text(f"""
    SELECT count(*) AS renders, greatest(sum(r.frames_total - coalesce(t.done, 0)), 0)::float8 AS frames
    FROM renders r LEFT JOIN LATERAL (
        SELECT sum(progress) AS done FROM tasks WHERE render_id = r.id AND kind = 'segment' AND r.status = 'running'
    ) t ON true
    WHERE {_UNFINISHED} AND (CAST(:subject AS text) IS NULL OR EXISTS (
        SELECT FROM requesters q WHERE q.render_id = r.id AND q.subject = :subject))
""")


def places_left(own: int, total: int, limits: RenderLimits) -> bool:
    """Whether a caller with `own` unfinished renders, of `total`, may have one more."""
    return own < limits.max_queued and own < limits.max_queued_total - total


async def reserve_place(
    connection: AsyncConnection, subject: Subject, limits: RenderLimits, *, joins: bool = False
) -> None:
    """Raises TooManyRequests if the subject may have no further unfinished render, QueueFull if nobody may.

    Until the transaction ends, no other one counts the subject's renders. `joins`: the render has its place already;
    for any other, call `confirm_place` at the end of the transaction.
    """
    await acquire_advisory_lock(connection, f"queue of {subject}")
    found = (await connection.execute(COUNT_UNFINISHED, {"subject": subject})).one()
    if not places_left(found.of_caller, 0 if joins else found.of_all, limits):
        raise await _refusal(connection, subject, found.of_caller, limits)


async def confirm_place(connection: AsyncConnection, subject: Subject, limits: RenderLimits) -> None:
    """As `reserve_place`, of a render that is written: whatever others wrote meanwhile is counted.

    All submissions wait here for each other, from this count until they are committed.
    """
    await acquire_advisory_lock(connection, "queue of all")
    found = (await connection.execute(COUNT_UNFINISHED, {"subject": subject})).one()
    if not places_left(found.of_caller - 1, found.of_all - 1, limits):
        raise await _refusal(connection, subject, found.of_caller - 1, limits)


async def _refusal(connection: AsyncConnection, subject: Subject, own: int, limits: RenderLimits) -> ReelmillError:
    if not own:
        detail = f"all {limits.max_queued_total} places for unfinished renders are taken: try again later"
        return QueueFull(detail, headers=await _when_to_retry(connection, None))
    headers = await _when_to_retry(connection, subject)
    if own >= limits.max_queued:
        detail = f"you have {own} unfinished renders, at most {limits.max_queued} are allowed: let some end"
    else:
        detail = f"you have {own} unfinished renders, and no more than {own} places are free for all: let some end"
    return TooManyRequests(detail, headers=headers)


async def _when_to_retry(connection: AsyncConnection, subject: Subject | None) -> dict[str, str]:
    """How long one of these renders takes on average, at the rate of the last minutes."""
    left = (await connection.execute(SELECT_WORK_LEFT, {"subject": subject})).one()
    work = left.frames / left.renders if left.renders else math.nan
    return await retry_after(connection, "segment", subject, work)

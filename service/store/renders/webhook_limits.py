"""How many webhooks may hang on a render, and how many calls may wait for the receivers of one caller.

Whoever may see a render may ask to be called when it ends, also if another had it made."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import FieldProblem, ReelmillError, TooManyRequests, invalid_field
from service.ids import Subject
from service.jobs.throughput import retry_after
from service.store.database import acquire_advisory_lock

WEBHOOK_POINTER = "#/webhook_url"
# One for a service, one for its successor, one for a person.
MAX_OF_CALLER = 3
# Of all callers but the one who had the render made, whose own always fit: a stranger's must not displace them.
MAX_OF_OTHERS = 20
# Calls that wait for a caller's receivers. One that is away for a day is given up for each call after eight attempts.
MAX_WAITING_CALLS = 1000

COUNT_WEBHOOKS = text("""
    SELECT count(*) FILTER (WHERE w.owner = :owner AND w.url = :url) AS same,
        count(*) FILTER (WHERE w.owner = :owner) AS own,
        count(*) FILTER (WHERE w.owner <> r.owner) AS of_others,
        coalesce(bool_or(r.owner = :owner), false) AS is_owner
    FROM renders r LEFT JOIN webhooks w ON w.render_id = r.id WHERE r.id = :render
""")
COUNT_WAITING_CALLS = text("""
    SELECT count(*) FROM tasks
    WHERE kind = 'webhook' AND state IN ('queued', 'running') AND payload ->> 'owner' = :owner
""")


async def require_room(connection: AsyncConnection, render: UUID, owner: Subject, url: str) -> None:
    """Check that the caller may hang this webhook on the render; one that is there already always fits.

    Raises InvalidRequest if the render has no room for it, TooManyRequests while too many calls wait.
    """
    await acquire_advisory_lock(connection, f"webhooks of {render}")
    values = {"render": render, "owner": owner, "url": url}
    found = (await connection.execute(COUNT_WEBHOOKS, values)).one()
    if found.same:
        return
    if found.own >= MAX_OF_CALLER:
        raise _no_room(f"you have {MAX_OF_CALLER} webhooks on this render already: that is all it takes of a caller")
    if not found.is_owner and found.of_others >= MAX_OF_OTHERS:
        raise _no_room(f"this render has {MAX_OF_OTHERS} webhooks already: follow its status or its events instead")
    if int(await connection.scalar(COUNT_WAITING_CALLS, {"owner": owner}) or 0) >= MAX_WAITING_CALLS:
        detail = f"{MAX_WAITING_CALLS} calls wait for your receivers: submit without a webhook until they answer"
        problem = FieldProblem(detail, "too_many_calls_waiting", pointer=WEBHOOK_POINTER)
        raise TooManyRequests(detail, errors=(problem,), headers=await retry_after(connection, "webhook", owner))


def _no_room(detail: str) -> ReelmillError:
    return invalid_field(WEBHOOK_POINTER, detail, "too_many_webhooks")

"""Who asked for a render: it belongs to each of them, and to nobody longer than he may see its frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import NotFound
from service.ids import Subject
from service.store.database import Caller
from service.store.renders import lifecycle
from service.store.tables import renders, requesters

# The lock makes a change of the share wait for this transaction, or this transaction for that change.
LOCK_VISIBLE_EXPERIMENT = text("""
    SELECT owner FROM experiments
    WHERE id = :experiment AND (:admin OR reelmill_may_read(owner, visibility, shared_with, :subject)) FOR SHARE
""")
UPSERT_REQUESTER = text("""
    INSERT INTO requesters (render_id, subject, admin, priority, keep_days)
    VALUES (:render, :subject, :admin, :priority, :keep_days)
    ON CONFLICT (render_id, subject) DO UPDATE
    SET admin = excluded.admin, priority = greatest(requesters.priority, excluded.priority), asked_at = now(),
        keep_days = coalesce(excluded.keep_days, requesters.keep_days)
""")
UPSERT_NAMED_PRESET = text("""
    INSERT INTO render_presets (render_id, preset_id, subject, name) VALUES (:render, :preset, :subject, :name)
    ON CONFLICT (render_id, preset_id, subject) DO UPDATE SET name = excluded.name
""")
# Whoever asked as an admin could see the experiment without being named in it.
SELECT_LOST = text("""
    SELECT q.render_id, q.subject
    FROM renders r JOIN experiments e ON e.id = r.experiment_id JOIN requesters q ON q.render_id = r.id
    WHERE e.id = :experiment AND NOT q.admin
        AND NOT reelmill_may_read(e.owner, e.visibility, e.shared_with, q.subject)
    ORDER BY q.render_id, q.subject FOR UPDATE OF r
""")
SET_PRIORITIES = text("""
    UPDATE requesters SET priority = :priority
    WHERE render_id = :render AND subject = coalesce(CAST(:subject AS text), subject)
""")
SELECT_HIGHEST_PRIORITY = text("SELECT max(priority) FROM requesters WHERE render_id = :render")


# Once the experiment is deleted, nobody may see it. That a render was cancelled by this is told: it says nothing of it.
MAY_RECEIVE_WEBHOOK = text("""
    SELECT coalesce(
        (SELECT reelmill_may_read(e.owner, e.visibility, e.shared_with, :subject) OR EXISTS (
            SELECT FROM requesters q WHERE q.render_id = :render AND q.subject = :subject AND q.admin)
        FROM experiments e WHERE e.id = :experiment),
        :cancelled)
""")


@dataclass(frozen=True, slots=True)
class NamedPreset:
    """A preset that a request for a render names, and what it was called then."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a render is to a caller who may see it, locked until the end of the transaction.

    `asked`: the caller asked for it; `others`: somebody else did. `for_all`: the caller owns the experiment or is an
    admin, and may cancel or delete it for everybody.
    """

    render: RowMapping
    asked: bool
    others: bool
    for_all: bool


async def lock_visible_experiment(connection: AsyncConnection, caller: Caller, experiment: UUID) -> Subject:
    """The owner of an experiment that the caller may see; the right cannot end before this transaction does.

    Run as the service. Raises NotFound.
    """
    values = {"experiment": experiment, "subject": caller.subject, "admin": caller.admin}
    owner = await connection.scalar(LOCK_VISIBLE_EXPERIMENT, values)
    if owner is None:
        raise NotFound("there is no such experiment")
    return Subject(owner)


async def lock_render(connection: AsyncConnection, caller: Caller, render: UUID) -> Standing:
    """Lock a render that the caller may change. Run as the service.

    Raises NotFound unless he may see it, and asked for it or may act for all.
    """
    missing = NotFound("there is no such render of yours")
    experiment = await connection.scalar(select(renders.c.experiment_id).where(renders.c.id == render))
    if experiment is None:
        raise missing
    try:
        owner = await lock_visible_experiment(connection, caller, experiment)
    except NotFound:
        raise missing from None
    row = (await connection.execute(select(renders).where(renders.c.id == render).with_for_update())).mappings().first()
    subjects = set(await connection.scalars(select(requesters.c.subject).where(requesters.c.render_id == render)))
    asked, for_all = caller.subject in subjects, caller.admin or owner == caller.subject
    if row is None or not (asked or for_all):
        raise missing
    return Standing(row, asked, bool(subjects - {caller.subject}), for_all)


async def add_requester(
    connection: AsyncConnection, render: UUID, caller: Caller, priority: int, keep_days: int | None = None
) -> None:
    """The caller asks for the render, with the rights of now; call `apply_priority` if its tasks are queued already.

    It is kept for `keep_days` days from when it ends, or from now; None: as all renders, or as he asked for before.
    """
    values = {"render": render, "subject": caller.subject, "admin": caller.admin, "priority": priority}
    await connection.execute(UPSERT_REQUESTER, values | {"keep_days": keep_days})


async def record_preset(connection: AsyncConnection, render: UUID, subject: Subject, preset: NamedPreset) -> None:
    """Note that the subject's request for the render named this preset."""
    values = {"render": render, "subject": subject, "preset": preset.id, "name": preset.name}
    await connection.execute(UPSERT_NAMED_PRESET, values)


OF_REQUESTERS = (
    ("requesters", "subject"),
    ("render_presets", "subject"),
    ("webhooks", "owner"),
    ("idempotency_keys", "subject"),
)


async def remove_requesters(connection: AsyncConnection, render: UUID, subjects: Sequence[str]) -> None:
    """The render is not theirs any more: their webhooks are not called, their idempotency keys and the presets that
    they named lead to nothing."""
    for table, column in OF_REQUESTERS:
        query = text(f"DELETE FROM {table} WHERE render_id = :render AND {column} = ANY(:subjects)")
        await connection.execute(query, {"render": render, "subjects": list(subjects)})
    await apply_priority(connection, render)


async def change_priority(connection: AsyncConnection, standing: Standing, caller: Caller, priority: int) -> bool:
    """What this requester asks for; whoever did not ask decides for all. False if the render has started or ended."""
    subject = caller.subject if standing.asked else None
    values = {"render": standing.render["id"], "subject": subject, "priority": priority}
    await connection.execute(SET_PRIORITIES, values)
    return await apply_priority(connection, standing.render["id"], nobody=priority)


async def apply_priority(connection: AsyncConnection, render: UUID, nobody: int = 0) -> bool:
    """Queue the render with the highest priority of its requesters; `nobody` if it has none. False: it has started."""
    highest = await connection.scalar(SELECT_HIGHEST_PRIORITY, {"render": render})
    return await lifecycle.change_priority(connection, render, nobody if highest is None else highest)


async def is_requester(connection: AsyncConnection, render: UUID, subject: Subject) -> bool:
    query = select(requesters.c.subject).where(requesters.c.render_id == render, requesters.c.subject == subject)
    return await connection.scalar(query) is not None


async def end_lost_rights(connection: AsyncConnection, experiment: UUID) -> None:
    """After the visibility of an experiment has changed: its renders are nobody's who may not see it any more.

    Unfinished ones that nobody is left to have asked for are cancelled. Run as the service, with the experiment's row
    locked.
    """
    lost: dict[UUID, list[str]] = {}
    for row in await connection.execute(SELECT_LOST, {"experiment": experiment}):
        lost.setdefault(row.render_id, []).append(row.subject)
    for render, subjects in lost.items():
        await remove_requesters(connection, render, subjects)
        if await connection.scalar(SELECT_HIGHEST_PRIORITY, {"render": render}) is None:
            await lifecycle.cancel_render(connection, render)


async def may_receive_webhook(connection: AsyncConnection, message: dict[str, Any]) -> bool:
    """Whether the `owner` of a webhook may still see the render that the payload of its task is about."""
    body = message["body"]
    if "owner" not in message:  # queued by a version that did not note it
        return True
    values = {
        "subject": message["owner"],
        "render": UUID(body["data"]["job_id"]),
        "experiment": UUID(body["data"]["experiment_id"]),
        "cancelled": body["type"] == "render.cancelled",
    }
    return bool(await connection.scalar(MAY_RECEIVE_WEBHOOK, values))

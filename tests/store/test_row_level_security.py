"""What five callers see of private, shared and public experiments, and of everything under them."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from service.ids import Subject, new_uuid
from service.store.catalog import experiments, follows, presets
from service.store.catalog.datasets import DatasetRow
from service.store.catalog.experiments import ExperimentFilter
from service.store.database import Caller, Database, switch_to_service_role
from service.store.keyset import PageRequest
from service.store.renders import queries
from service.store.schedules.runs import begin_manual_run
from service.store.schedules.schedules import create as create_schedule
from service.store.schedules.tables import schedule_runs, schedules
from service.store.tables import datasets, frames, render_presets, renders, requesters, sources
from service.store.tables import experiments as experiment_rows
from service.store.tables import presets as preset_rows
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
OWNER, FRIEND, STRANGER, OTHER, ADMIN = (
    Caller(Subject("alice")),
    Caller(Subject("bob")),
    Caller(Subject("eve")),
    Caller(Subject("")),
    Caller(Subject("root"), admin=True),
)
SEEN = {
    "alice": {"private", "shared", "public"},
    "bob": {"shared", "public"},
    "eve": {"public"},
    "": {"public"},
    "root": {"private", "shared", "public"},
}
CALLERS = pytest.mark.parametrize(
    "who", [OWNER, FRIEND, STRANGER, OTHER, ADMIN], ids=lambda who: who.subject or "empty"
)
Tree = dict[str, DatasetRow]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_url) as database:
        yield database


@pytest.fixture(scope="module")
async def tree(database: Database) -> Tree:
    """Visibility -> a dataset of alice's, under an experiment of that visibility, with frames, a source, a render."""
    made = {}
    async with database.service_transaction() as connection:
        for visibility in ("private", "shared", "public"):
            dataset = await add_dataset(connection, 3)
            values = {"visibility": visibility, "shared_with": ["bob"]}
            where = experiment_rows.c.id == dataset.experiment_id
            await connection.execute(update(experiment_rows).where(where).values(**values))
            await add_render(connection, dataset)
            source = {"dataset_id": dataset.id, "number": 0, "key": "k", "size": 1, "etag": "e"}
            await connection.execute(insert(sources).values(**source, first_index=0, frame_count=0, pts=b""))
            await follows.follow(connection, dataset.id, "alice")
            made[visibility] = dataset
    return made


@CALLERS
async def test_what_is_seen(database: Database, tree: Tree, who: Caller) -> None:
    expected = {name: dataset for name, dataset in tree.items() if name in SEEN[who.subject]}
    async with database.caller_transaction(who) as connection:
        seen = {
            row["visibility"]
            for row in (await experiments.list_page(connection, ExperimentFilter(), PageRequest(500, "-created_at")))[0]
        }
        assert seen == set(expected)
        assert await experiments.count(connection, ExperimentFilter()) == len(expected)
        ids = {row.id for row in await connection.execute(select(datasets.c.id))}
        assert ids == {dataset.id for dataset in expected.values()}
        for table, each in ((frames, 3), (sources, 1), (renders, 1), (follows.follows, 1)):
            assert await connection.scalar(select(func.count()).select_from(table)) == each * len(expected), table.name


@CALLERS
async def test_every_rule_of_reading_says_the_same(database: Database, tree: Tree, who: Caller) -> None:
    """The policies, the function that checks a subject, and what followers of a render are checked by."""
    rule = text("SELECT :admin OR reelmill_may_read(owner, visibility, shared_with, nullif(:who, '')) FROM experiments")
    async with database.service_transaction() as connection:
        ids = list(await connection.scalars(select(renders.c.id)))
        rows = await queries.list_statuses(connection, ids)
        by_function = list(await connection.scalars(rule, {"admin": who.admin, "who": who.subject}))
    async with database.caller_transaction(who) as connection:
        visible = set(await connection.scalars(select(renders.c.id)))
    assert {row["id"] for row in rows if queries.may_read(row, who)} == visible
    assert sum(map(bool, by_function)) == len(visible)


@CALLERS
async def test_what_may_be_written(database: Database, tree: Tree, who: Caller) -> None:
    """Only the owner and admins change anything; the others' writes find no row or are refused."""
    may = who in (OWNER, ADMIN)
    for dataset in tree.values():
        async with database.caller_transaction(who) as connection:
            assert (await experiments.lock(connection, dataset.experiment_id) is not None) == may
            described = update(experiment_rows).where(experiment_rows.c.id == dataset.experiment_id)
            assert (await connection.execute(described.values(description="x"))).rowcount == int(may)
            renamed = update(datasets).where(datasets.c.id == dataset.id).values(name=f"by {who.subject}")
            assert (await connection.execute(renamed)).rowcount == int(may)
        if not may:
            assert await _is_refused(database, who, _new_dataset(dataset.experiment_id))
            async with database.caller_transaction(who) as connection:
                gone = experiment_rows.delete().where(experiment_rows.c.id == dataset.experiment_id)
                assert (await connection.execute(gone)).rowcount == 0


@CALLERS
async def test_nobody_writes_frames_renders_or_tasks(database: Database, tree: Tree, who: Caller) -> None:
    dataset = tree["public"].id
    assert await _is_refused(database, who, frames.delete().where(frames.c.dataset_id == dataset))
    assert await _is_refused(database, who, update(renders).values(phase="queued"))
    assert await _is_refused(database, who, update(requesters).values(priority=9))
    assert await _is_refused(database, who, insert(requesters).values(render_id=dataset, subject=who.subject))
    assert await _is_refused(database, who, update(schedules).values(enabled=False))
    assert await _is_refused(database, who, schedule_runs.delete())
    assert await _is_refused(database, who, text("UPDATE follows SET due_at = now()"))
    assert await _is_refused(database, who, text("SELECT worker FROM follows"))
    assert await _is_refused(database, who, text("SELECT * FROM tasks"))
    assert await _is_refused(database, who, text("SELECT * FROM attempts"))
    assert await _is_refused(database, who, text("SELECT * FROM transitions"))
    assert await _is_refused(database, who, text("SELECT * FROM workers"))
    assert await _is_refused(database, who, text("SELECT * FROM signing_keys"))
    assert await _is_refused(database, who, text("SELECT * FROM removals"))
    assert await _is_refused(database, who, text("SELECT * FROM webhooks"))
    assert await _is_refused(database, who, text("SELECT * FROM webhook_secrets"))


@CALLERS
async def test_presets_are_shared_as_experiments_are(database: Database, tree: Tree, who: Caller) -> None:
    """Who named one for a render is told to whoever sees both."""
    made = {}
    async with database.service_transaction() as connection:
        for visibility, dataset in tree.items():
            values = {"name": f"{visibility} for {who.subject}", "visibility": visibility, "shared_with": ["bob"]}
            made[visibility] = (await presets.create(connection, Subject("alice"), values))["id"]
            render = await connection.scalar(select(renders.c.id).where(renders.c.dataset_id == dataset.id))
            for preset in made.values():
                row = {"render_id": render, "preset_id": preset, "subject": who.subject, "name": "p"}
                await connection.execute(insert(render_presets).values(**row))
    may, seen = who in (OWNER, ADMIN), {made[name] for name in SEEN[who.subject]}
    async with database.caller_transaction(who) as connection:
        ids = set(await connection.scalars(select(preset_rows.c.id).where(preset_rows.c.id.in_(made.values()))))
        assert ids == seen
        named = select(render_presets.c.preset_id, renders.c.dataset_id).join(renders)
        named = named.where(render_presets.c.preset_id.in_(made.values()))
        pairs = {(row.preset_id, row.dataset_id) for row in await connection.execute(named)}
        order = list(tree)
        assert pairs == {
            (made[preset], tree[render].id)
            for render in SEEN[who.subject]
            for preset in SEEN[who.subject]
            if order.index(preset) <= order.index(render)
        }
        for preset in made.values():
            changed = update(preset_rows).where(preset_rows.c.id == preset).values(description="x")
            assert (await connection.execute(changed)).rowcount == int(may)
            assert (await presets.lock(connection, preset) is not None) == may
            gone = preset_rows.delete().where(preset_rows.c.id == preset)
            assert (await connection.execute(gone)).rowcount == int(may)
    given = insert(preset_rows).values(id=new_uuid(), name=f"of {who.subject}", owner="mallory", options={})
    assert await _is_refused(database, who, given) == (not who.admin)
    assert await _is_refused(database, who, render_presets.delete())
    assert await _is_refused(database, who, update(render_presets).values(name="x"))


@CALLERS
async def test_schedules_are_seen_by_their_owner_and_admins(database: Database, tree: Tree, who: Caller) -> None:
    """Also where the experiment is everybody's: a request may have the address of a webhook."""
    async with database.service_transaction() as connection:
        values = {"name": who.subject, "cron": "* * * * *", "zone": "UTC", "request": {}}
        values |= {"experiment_id": tree["public"].experiment_id}
        made = await create_schedule(connection, Subject("alice"), values)
        await begin_manual_run(connection, made)
    async with database.caller_transaction(who) as connection:
        for table, column in ((schedules, schedules.c.id), (schedule_runs, schedule_runs.c.schedule_id)):
            query = select(func.count()).select_from(table).where(column == made["id"])
            assert await connection.scalar(query) == int(who in (OWNER, ADMIN)), table.name


async def test_nobody_makes_an_experiment_of_another_owner(database: Database) -> None:
    async with database.caller_transaction(OWNER) as connection:
        mine = await experiments.create(connection, Subject("alice"), {"name": "given away"})
    given = update(experiment_rows).where(experiment_rows.c.id == mine["id"]).values(owner="eve")
    assert await _is_refused(database, OWNER, given)
    assert await _is_refused(database, OWNER, insert(experiment_rows).values(id=UUID(int=1), name="x", owner="eve"))
    async with database.caller_transaction(OWNER) as connection:
        gone = experiment_rows.delete().where(experiment_rows.c.id == mine["id"])
        assert (await connection.execute(gone)).rowcount == 1


async def test_the_caller_is_forgotten_with_the_transaction(database: Database, tree: Tree) -> None:
    for who, seen in ((ADMIN, 3), (STRANGER, 1), (OTHER, 1)):
        async with database.caller_transaction(who) as connection:
            assert await experiments.count(connection, ExperimentFilter()) == seen
        async with database.service_transaction() as connection:
            assert await connection.scalar(text("SELECT current_user <> 'reelmill_caller'"))


async def test_becoming_the_service_lasts_one_transaction(database: Database, tree: Tree) -> None:
    async with database.caller_transaction(STRANGER) as connection:
        await switch_to_service_role(connection)
        assert await experiments.count(connection, ExperimentFilter()) == 3
    async with database.caller_transaction(STRANGER) as connection:
        assert await experiments.count(connection, ExperimentFilter()) == 1


def _new_dataset(experiment: UUID) -> Any:
    row = {
        "id": UUID(int=2),
        "experiment_id": experiment,
        "name": "mine",
        "kind": "frames",
        "bucket": "b",
        "prefix": "p",
    }
    return insert(datasets).values(**row)


async def _is_refused(database: Database, who: Caller, statement: Any) -> bool:
    """Whether PostgreSQL refuses the statement (42501: insufficient privilege, or the check of a policy)."""
    try:
        async with database.caller_transaction(who) as connection:
            await connection.execute(statement)
    except DBAPIError as error:
        return getattr(error.orig, "sqlstate", None) == "42501"
    return False

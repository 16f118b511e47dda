"""A schema is current when all of it is there."""

from uuid import UUID

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from service.jobs import picking, queue
from service.jobs.routing import Taker
from service.store.database import Database, async_url
from service.store.schema import MIGRATIONS_FOLDER, is_current, migrate
from service.store.settings import DatabaseSettings
from tests.support.servers.databases import empty_database, until_workers_can_be_lost

pytestmark = pytest.mark.anyio


async def test_a_schema_is_current_when_all_of_it_is_there(postgres_url: str) -> None:
    async with empty_database(postgres_url) as url:
        assert not await is_current(url)
        await migrate(url)
        assert await is_current(url)
        engine = create_async_engine(async_url(url))
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        await engine.dispose()
        assert not await is_current(url), "whoever starts next upgrades it"


# Work in flight on the version before: PgQueuer's schema, a running and a queued segment, a scan and a webhook.
IN_FLIGHT = (
    "CREATE SCHEMA queue",
    "CREATE TABLE queue.pgqueuer (id int, payload bytea)",
    "INSERT INTO experiments (id, name, owner) VALUES (:id, 'e', 'alice')",
    """INSERT INTO datasets (id, experiment_id, name, kind, bucket, prefix, state)
        VALUES (:id, :id, 'd', 'frames', 'reelmill', 'p/', 'ready')""",
    """INSERT INTO renders (id, owner, experiment_id, dataset_id, render_key, request, options, frames_total, status)
        VALUES (:id, 'bob', :id, :id, 'k', '{}', '{}', 2, 'running')""",
    """INSERT INTO segments (render_id, number, first_output, content_key, frames, lead)
        SELECT :id, n, n, n::text, '[]', '[]' FROM generate_series(0, 1) AS n""",
    """INSERT INTO tasks (id, kind, render_id, number, state, starts, lease, worker, heartbeat_at)
        VALUES (gen_random_uuid(), 'segment', :id, 0, 'running', 1, 1, 'old', now() - interval '1 minute')""",
    "INSERT INTO tasks (id, kind, render_id, number) VALUES (gen_random_uuid(), 'segment', :id, 1)",
    "INSERT INTO tasks (id, kind, dataset_id) VALUES (gen_random_uuid(), 'scan', :id)",
    """INSERT INTO tasks (id, kind, payload) VALUES (gen_random_uuid(), 'webhook', '{"owner": "carol", "url": "u"}')""",
)


def upgrade_to(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def test_work_in_flight_goes_on_after_the_upgrade(postgres_url: str) -> None:
    async with empty_database(postgres_url) as url:
        engine = create_async_engine(async_url(url))
        async with engine.begin() as connection:
            await connection.run_sync(upgrade_to, "0014")
            for statement in IN_FLIGHT:
                values = {"id": UUID(int=7)} if ":id" in statement else {}
                await connection.execute(text(statement), values)
        await engine.dispose()
        await migrate(url)
        database = Database(url, DatabaseSettings())
        await until_workers_can_be_lost(database)
        async with database.service_transaction() as connection:
            assert (await queue.release_lost_tasks(connection)).total() == 1
            assert await connection.scalar(text("SELECT to_regnamespace('queue')")) is None
            waiting = {
                lane: await picking.list_candidates(connection, lane) for lane in ("render", "urgent", "webhook")
            }
            assert {lane: [each.owner for each in found] for lane, found in waiting.items()} == {
                "render": ["bob"],
                "urgent": ["alice"],
                "webhook": ["carol"],
            }
            taken = [await picking.take(connection, waiting["render"][0], Taker("new")) for _ in range(3)]
        assert [lease and (lease.number, lease.attempts) for lease in taken] == [(0, 1), (1, 1), None]  # type: ignore[attr-defined]
        await database.close()

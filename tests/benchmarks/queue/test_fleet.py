"""The simulated fleet does what real workers do: it holds as many tasks as it has slots, and finishes them for good."""

import pytest
from sqlalchemy import text

from benchmarks.queue.backlog import finish_many, write_backlog
from benchmarks.queue.fleet import SLOTS, SimulatedFleet
from service.store.renders import invariants
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
STATES = text("SELECT state, count(*) AS count FROM tasks GROUP BY state")


async def test_tasks_are_taken_kept_and_finished(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            backlog = await write_backlog(connection, 2000)
        assert (backlog.tasks, backlog.renders, backlog.owners) == (2880, 2, 2)
        fleet = SimulatedFleet(database, workers=2)
        await fleet.fill()
        found = await fleet.run(40)
        async with database.service_transaction() as connection:
            states = {row.state: row.count for row in await connection.execute(STATES)}
            cached = await connection.scalar(text("SELECT count(*) FROM segment_cache"))
            taken = (await connection.execute(text("SELECT max(starts), count(DISTINCT worker) FROM tasks"))).one()
            assert await invariants.broken(connection) == {}
            finished = await finish_many(connection, 0.5)
        assert found.missed == 0 and found.heartbeats > 0 and found.simulated_s > 1
        assert states["running"] == 2 * SLOTS and states["succeeded"] == cached == len(found.finishes_s) >= 40
        assert tuple(taken) == (1, 2), "nothing was done twice"
        assert finished >= 1440 - 2 * SLOTS - states["succeeded"]

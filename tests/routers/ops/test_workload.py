"""GET /api/workload over the database that workers write."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.catalogue_api import catalogue_api

pytestmark = pytest.mark.anyio
# One task on each device ended in the hour, one before it, and one waits.
ADD_TASKS = text("""
    INSERT INTO tasks (id, kind, render_id, number, state, device, progress, created_at, started_at, finished_at)
    SELECT gen_random_uuid(), 'segment', CAST(:render AS uuid), number, state, device, 24, now() - interval '3 h', ended - interval '4 s', ended
    FROM (VALUES (100, 'succeeded', 'cpu', now() - interval '5 min'),
        (101, 'succeeded', 'cuda:0', now() - interval '10 min'),
        (102, 'succeeded', 'cpu', now() - interval '2 h'), (103, 'queued', 'cpu', NULL)) AS t(number, state, device, ended)
""")
ADD_ATTEMPT = text("""
    INSERT INTO attempts (task_id, render_id, kind, number, device, code, reason, counted, ended_at)
    VALUES (gen_random_uuid(), :render, 'segment', 100, 'cuda:0', 'slot_died', :reason, true, now() - :age * interval '1 min')
""")


async def test_the_last_hour_is_told_and_nothing_older(postgres_url: str, tmp_path: Path) -> None:
    async with catalogue_api(postgres_url, tmp_path) as api, api.client("root", "ops:read") as client:
        async with api.database.service_transaction() as connection:
            render = await add_render(connection, await add_dataset(connection, 4))
            before = (await client.get("/api/workload")).json()
            await connection.execute(ADD_TASKS, {"render": render})
            for reason, age in (("the driver went away", 3), ("long ago", 90)):
                await connection.execute(ADD_ATTEMPT, {"render": render, "reason": reason, "age": age})
        found = (await client.get("/api/workload")).json()
        done = {each["device"]: each for each in found["finished"] if each["kind"] == "segment"}
        past = {each["device"]: each for each in before["finished"] if each["kind"] == "segment"}
        for device in ("cpu", "cuda:0"):
            was = past.get(device, {"count": 0, "frames": 0, "seconds": 0})
            grown = [round(done[device][name] - was[name], 3) for name in ("count", "frames", "seconds")]
            assert grown == [1, 24, 4]
        waiting = [each for each in found["queue"] if (each["kind"], each["state"]) == ("segment", "queued")]
        assert waiting[0]["oldest_seconds"] > 3 * 3600 - 60
        died = [each for each in found["failures"] if each["code"] == "slot_died" and each["device"] == "cuda:0"]
        assert [each["reason"] for each in died] == ["the driver went away"]

"""What becomes of a time: it runs once, waits, is refused, or is one of those for which a later run stands."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from service.routers.schedules.runner import ScheduleRunner
from service.store.database import Database
from service.store.schedules import runs
from service.store.settings import DatabaseSettings
from service.telemetry.metrics import SCHEDULE_RUNS, SCHEDULE_TIMES_MISSED
from tests.routers.schedules.conftest import LEAP_YEAR, Scheduled
from tests.support.servers.databases import until_waiting

pytestmark = pytest.mark.anyio
NOON = LEAP_YEAR + timedelta(days=40, hours=12)
DAY = timedelta(days=1)


async def begin(scheduled: Scheduled, made: dict[str, Any], moment: datetime = NOON) -> None:
    """As if the schedule had been made shortly before this time, at which it is due."""
    values = {"until": moment - timedelta(seconds=1), "next": moment, "id": made["id"]}
    await scheduled.execute("UPDATE schedules SET planned_until = :until, next_run_at = :next WHERE id = :id", **values)


async def test_it_runs_at_its_time_and_not_before(scheduled: Scheduled) -> None:
    made, runner = await scheduled.make(cron="0 12 * * *", window="yesterday"), ScheduleRunner(scheduled.resources)
    await begin(scheduled, made)
    await runner.run_due(NOON - timedelta(microseconds=1))
    assert await scheduled.listed(made["id"]) == []
    await runner.run_due(NOON + timedelta(seconds=3))
    (run,) = await scheduled.listed(made["id"])
    midnight = NOON - timedelta(hours=12)
    window = {"from": f"{midnight - DAY:%Y-%m-%dT%H:%M:%SZ}", "to": f"{midnight:%Y-%m-%dT%H:%M:%SZ}"}
    assert (run["planned_at"], run["began_at"]) == (f"{NOON:%Y-%m-%dT%H:%M:%SZ}", f"{NOON:%Y-%m-%dT12:00:03Z}")
    assert (run["state"], run["missed"], run["manual"], run["attempts"]) == ("submitted", 0, False, 1)
    assert (run["window"], run["joined"], run["problem"], run["retry_at"]) == (window, False, None, None)
    status = (await scheduled.alice.get(f"/api/videos/{run['job_id']}")).json()
    assert (status["owner"], status["frames_total"], status["status"]) == ("alice", 2, "queued")
    await runner.run_due(NOON + timedelta(seconds=8))
    assert len(await scheduled.rows()) == 1
    found = (await scheduled.alice.get(f"/api/schedules/{made['id']}")).json()
    assert found["last_run"] == run and (await scheduled.alice.get("/api/schedules")).json() == [found]
    assert (found["run_count"], found["next_run_at"]) == (1, f"{NOON + DAY:%Y-%m-%dT%H:%M:%SZ}")


async def test_what_was_missed_runs_once_and_says_so(scheduled: Scheduled) -> None:
    made, missed = await scheduled.make(cron="0 12 * * *", window="since_last_run"), SCHEDULE_TIMES_MISSED._value.get()
    runner = ScheduleRunner(scheduled.resources)
    await begin(scheduled, made)
    await runner.run_due(NOON)
    await runner.run_due(NOON + 5 * DAY + timedelta(hours=1))
    await runner.run_due(NOON + 6 * DAY)
    first, second, third = await scheduled.rows()
    assert (first["window_from"], first["window_to"]) == (None, NOON)
    assert (second["planned_at"], second["missed"]) == (NOON + 5 * DAY, 4)
    assert (second["window_from"], second["window_to"]) == (NOON, NOON + 5 * DAY)
    assert (third["missed"], third["window_from"]) == (0, NOON + 5 * DAY)
    assert SCHEDULE_TIMES_MISSED._value.get() == missed + 4


async def test_a_clock_that_was_set_back_repeats_nothing(scheduled: Scheduled) -> None:
    made, runner = await scheduled.make(cron="0 * * * *"), ScheduleRunner(scheduled.resources)
    await begin(scheduled, made)
    for hours in (0, 3, 1, 2, 3, 4, 2, 4):
        await runner.run_due(NOON + timedelta(hours=hours, minutes=1))
    planned = [(row["planned_at"] - NOON, row["missed"]) for row in await scheduled.rows()]
    assert planned == [(timedelta(hours=hours), missed) for hours, missed in ((0, 0), (3, 2), (4, 0))]


async def test_the_same_video_is_joined_and_said_so(scheduled: Scheduled) -> None:
    made, runner = await scheduled.make(cron="0 12 * * *"), ScheduleRunner(scheduled.resources)
    job = (await scheduled.alice.post("/api/videos/generate", json=scheduled.request)).json()["job_id"]
    await begin(scheduled, made)
    joined = SCHEDULE_RUNS.labels("joined")._value.get()
    await runner.run_due(NOON)
    (run,) = await scheduled.listed(made["id"])
    assert (run["state"], run["joined"], run["job_id"]) == ("submitted", True, job)
    assert SCHEDULE_RUNS.labels("joined")._value.get() == joined + 1


async def test_a_full_queue_is_tried_again_with_growing_gaps(scheduled: Scheduled) -> None:
    made, full = await scheduled.make(cron="0 12 * * *", window="yesterday"), ScheduleRunner(scheduled.limited(0))
    await begin(scheduled, made)
    now, gaps = NOON, []
    for attempts in range(1, 9):
        await full.run_due(now)
        (row,) = await scheduled.rows()
        assert (row["state"], row["attempts"], row["problem"]["status"]) == ("waiting", attempts, 503)
        await full.run_due(row["retry_at"] - timedelta(microseconds=1))
        assert (await scheduled.rows())[0]["attempts"] == attempts
        gaps.append((row["retry_at"] - now).total_seconds())
        now = row["retry_at"]
    assert gaps == [10, 20, 40, 80, 160, 320, 600, 600]
    await ScheduleRunner(scheduled.resources).run_due(now)
    (run,) = await scheduled.listed(made["id"])
    assert (run["state"], run["attempts"], run["problem"]) == ("submitted", 9, None)


async def test_what_is_refused_until_the_next_time_says_why(scheduled: Scheduled) -> None:
    """The capture times of what was refused are in the next video."""
    made, full = await scheduled.make(cron="0 12 * * *", window="since_last_run"), ScheduleRunner(scheduled.limited(0))
    await begin(scheduled, made)
    await ScheduleRunner(scheduled.resources).run_due(NOON)
    await full.run_due(NOON + DAY)
    await ScheduleRunner(scheduled.resources).run_due(NOON + 2 * DAY)
    third, second, first = await scheduled.listed(made["id"])
    assert [run["state"] for run in (first, second, third)] == ["submitted", "refused", "submitted"]
    assert (second["problem"]["type"], second["retry_at"]) == ("/problems/too-many-requests", None)
    assert "let some end" in second["problem"]["detail"]
    assert (third["missed"], third["window"]["from"]) == (0, first["window"]["to"])


async def test_a_run_that_had_to_wait_does_not_take_back_what_a_later_one_has_shown(scheduled: Scheduled) -> None:
    made, full = await scheduled.make(cron="0 12 * * *", window="since_last_run"), ScheduleRunner(scheduled.limited(0))
    await begin(scheduled, made)
    await full.run_due(NOON)
    await scheduled.execute("UPDATE schedules SET covered_until = :later", later=NOON + timedelta(hours=1))
    await ScheduleRunner(scheduled.resources).run_due(NOON + timedelta(minutes=1))
    await ScheduleRunner(scheduled.resources).run_due(NOON + DAY)
    first, second = await scheduled.rows()
    assert (first["state"], first["window_to"]) == ("submitted", NOON)
    assert second["window_from"] == NOON + timedelta(hours=1)


async def test_what_does_not_pass_is_refused_at_once(scheduled: Scheduled) -> None:
    made, runner = await scheduled.make(cron="0 9,12 * * *", window="last 1 hour"), ScheduleRunner(scheduled.resources)
    await begin(scheduled, made, NOON - timedelta(hours=3))
    await runner.run_due(NOON - timedelta(hours=3))
    await scheduled.execute("UPDATE experiments SET owner = 'bob'")
    await runner.run_due(NOON + timedelta(minutes=1))
    gone, empty = await scheduled.listed(made["id"])
    assert (empty["state"], empty["problem"]["errors"][0]["pointer"]) == ("refused", "#/window")
    assert "no frame was captured" in empty["problem"]["detail"]
    assert (gone["state"], gone["problem"]["status"], gone["attempts"]) == ("refused", 404, 1)


async def test_a_fault_is_logged_and_tried_again(scheduled: Scheduled, log_lines: Any) -> None:
    made, runner = await scheduled.make(cron="0 12 * * *"), ScheduleRunner(scheduled.resources)
    await begin(scheduled, made)
    await scheduled.execute("ALTER TABLE renders RENAME TO lost")
    await runner.run_due(NOON)
    await scheduled.execute("ALTER TABLE lost RENAME TO renders")
    (row,) = await scheduled.rows()
    assert (row["state"], row["problem"]["status"]) == ("waiting", 500)
    assert "lost" not in str(row["problem"]) and "could not run" in str(log_lines())
    await runner.run_due(NOON + timedelta(seconds=10))
    assert (await scheduled.rows())[0]["state"] == "submitted"


async def test_a_request_that_this_version_does_not_take_is_refused(scheduled: Scheduled) -> None:
    made, runner = await scheduled.make(cron="0 12 * * *"), ScheduleRunner(scheduled.resources)
    await begin(scheduled, made)
    await scheduled.execute("""UPDATE schedules SET request = request || '{"fps": -1}'""")
    await runner.run_due(NOON)
    (run,) = await scheduled.listed(made["id"])
    assert (run["state"], run["problem"]["errors"][0]["pointer"]) == ("refused", "#/request")
    kept = await scheduled.alice.patch(f"/api/schedules/{made['id']}", json={"zone": "Asia/Kolkata"})
    assert (kept.status_code, kept.json()["errors"][0]["pointer"]) == (422, "#/request")


async def test_a_zone_that_is_lost_switches_its_schedule_off_and_no_other(scheduled: Scheduled) -> None:
    lost, made = await scheduled.make(name="lost"), await scheduled.make(cron="0 12 * * *")
    await begin(scheduled, lost, NOON - DAY)
    await begin(scheduled, made)
    await scheduled.execute("UPDATE schedules SET zone = 'Europe/Atlantis' WHERE name = 'lost'")
    await ScheduleRunner(scheduled.resources).run_due(NOON)
    (run,) = await scheduled.listed(lost["id"])
    assert (run["state"], "Europe/Atlantis" in run["problem"]["detail"]) == ("refused", True)
    off = (await scheduled.alice.get(f"/api/schedules/{lost['id']}")).json()
    assert (off["enabled"], off["next_run_at"]) == (False, None)
    assert [run["state"] for run in await scheduled.listed(made["id"])] == ["submitted"]
    repaired = await scheduled.alice.patch(f"/api/schedules/{lost['id']}", json={"zone": "UTC", "enabled": True})
    assert repaired.json()["next_run_at"] is not None


async def test_switching_off_ends_what_waits_and_skips_what_comes(scheduled: Scheduled) -> None:
    made = await scheduled.make(cron="* * * * *")
    path = f"/api/schedules/{made['id']}"
    await scheduled.execute("UPDATE schedules SET next_run_at = now(), planned_until = now() - interval '1 minute'")
    (await scheduled.alice.patch(path, json={"enabled": False})).raise_for_status()
    (run,) = await scheduled.listed(made["id"])
    assert (run["state"], run["problem"]["status"]) == ("refused", 409), "its time had come before"
    await ScheduleRunner(scheduled.resources).run_due()
    assert len(await scheduled.rows()) == 1
    on = (await scheduled.alice.patch(path, json={"enabled": True})).json()
    assert datetime.fromisoformat(on["next_run_at"]) > datetime.fromisoformat(on["updated_at"]) - timedelta(seconds=1)
    assert len(await scheduled.rows()) == 1, "times while it was off have no run"


async def test_a_change_does_not_lose_the_time_that_has_come(scheduled: Scheduled) -> None:
    made = await scheduled.make(cron="* * * * *")
    await scheduled.execute("UPDATE schedules SET next_run_at = now(), planned_until = now() - interval '1 minute'")
    (await scheduled.alice.patch(f"/api/schedules/{made['id']}", json={"cron": "0 0 1 1 *"})).raise_for_status()
    await ScheduleRunner(scheduled.resources).run_due()
    assert [run["state"] for run in await scheduled.listed(made["id"])] == ["submitted"]


async def test_run_now(scheduled: Scheduled) -> None:
    await scheduled.execute("UPDATE frames SET captured_at = captured_at - interval '3 years'")
    made = await scheduled.make(enabled=False, window="since_last_run")
    path = f"/api/schedules/{made['id']}/run"
    run = (await scheduled.alice.post(path)).raise_for_status().json()
    assert (run["state"], run["manual"], run["number"], run["missed"]) == ("submitted", True, 1, 0)
    assert run["window"] == {"from": None, "to": run["planned_at"]}
    assert (await scheduled.alice.get(f"/api/videos/{run['job_id']}")).status_code == 200
    refused = await scheduled.alice.post(path)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/window"), "nothing came since"
    assert [run["state"] for run in await scheduled.listed(made["id"])] == ["refused", "submitted"]


async def test_runs_are_listed_in_pages(scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_RUNS", 3)
    made = await scheduled.make()
    path = f"/api/schedules/{made['id']}"
    for _ in range(4):
        (await scheduled.alice.post(f"{path}/run")).raise_for_status()
    first = await scheduled.alice.get(f"{path}/runs", params={"limit": 2, "count": "exact"})
    second = await scheduled.alice.get(first.links["next"]["url"])
    assert [run["number"] for run in first.json() + second.json()] == [4, 3, 2], "the oldest are deleted"
    assert first.headers["X-Total-Count"] == "3"


async def test_two_at_once_make_one_render(scheduled: Scheduled) -> None:
    made = await scheduled.make(cron="0 12 * * *", window="yesterday")
    await begin(scheduled, made)
    databases = [Database(scheduled.api.database.url, DatabaseSettings()) for _ in range(4)]
    processes = [ScheduleRunner(replace(scheduled.resources, database=each)) for each in databases]
    for day in range(5):
        await asyncio.gather(*(each.run_due(NOON + day * DAY) for each in processes))
    for each in databases:
        await each.close()
    await ScheduleRunner(scheduled.resources).run_due(NOON + 5 * DAY - timedelta(hours=1))
    rows = await scheduled.rows()
    assert [(row["state"], row["missed"], row["joined"]) for row in rows] == [("submitted", 0, False)] * 5
    assert (await scheduled.execute("SELECT count(*) FROM renders")).scalar_one() == 5


async def test_a_run_while_its_experiment_is_deleted_ends(scheduled: Scheduled) -> None:
    """It waits for the deletion, and neither blocks it: the experiment is locked before the schedule."""
    made = await scheduled.make(cron="0 12 * * *")
    await begin(scheduled, made)
    async with scheduled.api.database.service_transaction() as connection:
        await connection.execute(text("SELECT FROM experiments FOR UPDATE"))
        running = asyncio.create_task(ScheduleRunner(scheduled.resources).run_due(NOON))
        await until_waiting(scheduled.api.database)
        await connection.execute(text("DELETE FROM experiments"))
    await running
    assert await scheduled.rows() == []
    assert (await scheduled.execute("SELECT count(*) FROM renders")).scalar_one() == 0

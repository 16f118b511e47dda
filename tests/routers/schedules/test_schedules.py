"""Schedules are made, changed, listed and deleted; what cannot run is refused by its field."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from service.routers.schedules import routes
from service.store.schedules import schedules
from tests.routers.schedules.conftest import Scheduled
from tests.support.data.database_rows import add_dataset

pytestmark = pytest.mark.anyio


async def test_what_was_made_is_read_and_listed(scheduled: Scheduled) -> None:
    made = await scheduled.make(name="mornings", zone="Europe/Berlin", window="last 7 days", cron=" 30  6 * * 1-5 ")
    assert made["request"] == scheduled.request and made["experiment_id"] == scheduled.request["experiment_id"]
    assert (made["cron"], made["window"], made["enabled"], made["owner"]) == (
        "30 6 * * 1-5",
        "last 7 days",
        True,
        "alice",
    )
    assert made["next_run_at"] > made["created_at"] and made["run_count"] == 0
    other = await scheduled.make(name="evenings", enabled=False)
    assert other["next_run_at"] is None and other["window"] is None and other["zone"] == "UTC"
    assert (await scheduled.alice.get(f"/api/schedules/{made['id']}")).json() == made
    first = await scheduled.alice.get("/api/schedules", params={"sort": "name", "limit": 1, "count": "exact"})
    assert (first.json(), first.headers["X-Total-Count"]) == ([other], "2")
    second = await scheduled.alice.get(first.links["next"]["url"])
    assert second.json() == [made] and "next" not in second.links
    mine = {"experiment_id": scheduled.request["experiment_id"], "mine": True}
    assert len((await scheduled.alice.get("/api/schedules", params=mine)).json()) == 2
    assert (await scheduled.alice.get("/api/schedules", params={"experiment_id": str(uuid4())})).json() == []


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"cron": "every day"}, "#/cron", "value_error"),
        ({"cron": "0 0 31 2 *"}, "#/cron", "value_error"),
        ({"zone": "Europe/Atlantis"}, "#/zone", "value_error"),
        ({"window": "tomorrow"}, "#/window", "value_error"),
        ({"name": " "}, "#/name", "string_too_short"),
        ({"request": {}}, "#/request/experiment_id", "missing"),
        ({"request": {"fps": 1000}}, "#/request/fps", "less_than_equal"),
        ({"request": {"fps": None}}, "#/request/fps", "missing"),
        ({"request": {"codec": "av1", "container": "avi"}}, "#/request/container", "container"),
        ({"request": {"crop": {"x": 60, "y": 0, "width": 10, "height": 10}}}, "#/request/crop/width", "outside"),
        ({"request": {"dataset_id": str(uuid4())}}, "#/request/dataset_id", "no_dataset"),
        ({"request": {"webhook_url": "https://8.8.8.8/"}}, "#/request/webhook_url", "no_webhook_secret"),
        ({"request": {"dry_run": True}}, "#/request/dry_run", "exclusive"),
        ({"request": {"frames": {"start": 1}}, "window": "yesterday"}, "#/window", "exclusive"),
        ({"enabled": "perhaps"}, "#/enabled", "bool_parsing"),
        ({"surprise": 1}, "#/surprise", "extra_forbidden"),
    ],
)
async def test_what_cannot_run_is_refused_by_its_field(
    scheduled: Scheduled, fields: dict[str, Any], pointer: str, code: str
) -> None:
    request = {**scheduled.request, **fields["request"]} if fields.get("request") else scheduled.request
    body = {"name": "s", "request": request, "cron": "0 6 * * *"} | fields
    body["request"] = request if fields.get("request") != {} else {}
    refused = await scheduled.alice.post("/api/schedules", json=body)
    found = {(problem["pointer"], problem["code"]) for problem in refused.json()["errors"]}
    assert refused.status_code == 422 and (pointer, code) in found, refused.text
    assert (await scheduled.alice.get("/api/schedules")).json() == []


async def test_frames_that_are_to_come_need_not_be_there(scheduled: Scheduled) -> None:
    """Nor their times: a window of today is empty, and the dataset may be empty, too. Its options are checked anyway."""
    await scheduled.make(name="no frame of yesterday", window="yesterday")
    async with scheduled.api.database.service_transaction() as connection:
        empty = await add_dataset(connection, 0)
        await connection.execute(text("UPDATE datasets SET state = 'empty' WHERE id = :id"), {"id": empty.id})
    request = scheduled.request | {"experiment_id": str(empty.experiment_id)}
    await scheduled.make(name="no frames", request=request)
    body = {"name": "s", "request": request | {"fps": None}, "cron": "0 6 * * *"}
    assert (await scheduled.alice.post("/api/schedules", json=body)).json()["errors"][0]["pointer"] == "#/request/fps"
    await scheduled.execute("UPDATE datasets SET state = 'scanning'")
    await scheduled.make(name="being scanned")


async def test_frames_without_capture_times_have_no_window(scheduled: Scheduled) -> None:
    async with scheduled.api.database.service_transaction() as connection:
        request = scheduled.request | {"experiment_id": str((await add_dataset(connection, 4)).experiment_id)}
    body = {"name": "s", "request": request, "cron": "0 6 * * *", "window": "yesterday"}
    (problem,) = (await scheduled.alice.post("/api/schedules", json=body)).json()["errors"]
    assert (problem["pointer"], problem["code"]) == ("#/window", "no_capture_times")


async def test_a_change_that_was_checked_with_what_is_no_longer_there(
    scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two changes at once, each of which is right alone."""
    made = await scheduled.make()
    check = routes.require_own_rights

    async def change_meanwhile(*arguments: Any) -> None:
        await check(*arguments)
        await scheduled.execute("UPDATE schedules SET time_window = 'yesterday', updated_at = clock_timestamp()")

    monkeypatch.setattr(routes, "require_own_rights", change_meanwhile)
    path, request = f"/api/schedules/{made['id']}", scheduled.request | {"frames": {"start": 3}}
    refused = await scheduled.alice.patch(path, json={"request": request})
    assert (refused.status_code, "meanwhile" in refused.json()["detail"]) == (409, True), refused.text
    assert (await scheduled.alice.get(path)).json()["request"] == scheduled.request
    assert (await scheduled.alice.patch(path, json={"name": "other"})).status_code == 200


async def test_a_change_is_checked_with_what_stays(scheduled: Scheduled) -> None:
    made = await scheduled.make(request=scheduled.request | {"frames": {"start": 3}})
    path = f"/api/schedules/{made['id']}"
    refused = await scheduled.alice.patch(path, json={"window": "yesterday"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/window")
    assert (await scheduled.alice.patch(path, json={})).status_code == 422
    changed = await scheduled.alice.patch(path, json={"window": "yesterday", "request": scheduled.request})
    assert (changed.status_code, changed.json()["window"]) == (200, "yesterday")
    assert changed.json() | {"window": None, "updated_at": ""} == made | {
        "request": scheduled.request,
        "updated_at": "",
    }
    assert (await scheduled.alice.patch(path, json={"window": None})).json()["window"] is None
    later = (await scheduled.alice.patch(path, json={"cron": "0 7 * * *", "name": "t"})).json()
    assert (later["name"], later["next_run_at"][11:16]) == ("t", "07:00")
    off = (await scheduled.alice.patch(path, json={"enabled": False})).json()
    assert (off["next_run_at"], off["cron"]) == (None, "0 7 * * *")
    assert (await scheduled.alice.patch(path, json={"enabled": True})).json()["next_run_at"] == later["next_run_at"]


async def test_names_are_unique_and_schedules_few(scheduled: Scheduled, monkeypatch: pytest.MonkeyPatch) -> None:
    await scheduled.make()
    other = await scheduled.make(name="t")
    body = {"name": "s", "request": scheduled.request, "cron": "0 6 * * *"}
    assert (await scheduled.alice.post("/api/schedules", json=body)).status_code == 409
    assert (await scheduled.alice.patch(f"/api/schedules/{other['id']}", json={"name": "s"})).status_code == 409
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 2)
    refused = await scheduled.alice.post("/api/schedules", json=body | {"name": "u"})
    assert (refused.status_code, "2 schedules" in refused.json()["detail"]) == (409, True)


async def test_it_goes_with_its_experiment_or_alone(scheduled: Scheduled) -> None:
    made, other = await scheduled.make(), await scheduled.make(name="t")
    (await scheduled.alice.post(f"/api/schedules/{made['id']}/run")).raise_for_status()
    assert (await scheduled.alice.delete(f"/api/schedules/{other['id']}")).status_code == 204
    assert (await scheduled.alice.get(f"/api/schedules/{other['id']}")).status_code == 404
    experiment = f"/api/experiments/{scheduled.request['experiment_id']}"
    (await scheduled.alice.delete(experiment, params={"force": True})).raise_for_status()
    assert (await scheduled.alice.get("/api/schedules")).json() == [] and await scheduled.rows() == []


async def test_guests_schedule_what_they_see_and_see_only_their_own(scheduled: Scheduled) -> None:
    made = await scheduled.make()
    body = {"name": "bob's", "request": scheduled.request, "cron": "0 6 * * *"}
    async with scheduled.api.client("bob", "videos:read", "videos:render") as bob:
        assert (await bob.post("/api/schedules", json=body)).status_code == 404
        await scheduled.execute("UPDATE experiments SET visibility = 'public'")
        own = (await bob.post("/api/schedules", json=body)).raise_for_status().json()
        assert [row["id"] for row in (await bob.get("/api/schedules")).json()] == [own["id"]]
        for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/runs"), ("POST", "/run")):
            json = {"enabled": False} if method == "PATCH" else None
            answer = await bob.request(method, f"/api/schedules/{made['id']}{path}", json=json)
            assert answer.status_code == 404, (method, path)
    assert [row["id"] for row in (await scheduled.alice.get("/api/schedules")).json()] == [made["id"]]


async def test_an_admin_sees_all_and_schedules_without_being_one(scheduled: Scheduled) -> None:
    made = await scheduled.make()
    async with scheduled.api.client("root", "admin") as root:
        assert [row["id"] for row in (await root.get("/api/schedules")).json()] == [made["id"]]
        assert (await root.get("/api/schedules", params={"mine": True})).json() == []
        refused = await root.post(
            "/api/schedules", json={"name": "s", "request": scheduled.request, "cron": "0 6 * * *"}
        )
        (problem,) = refused.json()["errors"]
        assert (problem["pointer"], problem["code"]) == ("#/request/experiment_id", "not_visible")
        assert (
            await root.patch(f"/api/schedules/{made['id']}", json={"request": scheduled.request})
        ).status_code == 200
        run = (await root.post(f"/api/schedules/{made['id']}/run")).raise_for_status().json()
        owner = (await root.get(f"/api/videos/{run['job_id']}")).json()["owner"]
        assert (owner, (await root.delete(f"/api/schedules/{made['id']}")).status_code) == ("alice", 204)

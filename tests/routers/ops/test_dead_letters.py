"""Dead letters: what has failed for good is listed for those whom it concerns, retried, and dismissed."""

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from service.identity.claims import ADMIN
from service.ids import Subject, TaskId
from service.jobs import leases, queue
from service.jobs.leases import Lease
from service.store.catalog.datasets import enqueue_scan
from service.store.renders import lifecycle
from service.worker import outcomes
from service.worker.slots.messages import TaskFailed
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.processes.catalogue_api import CatalogueApi

pytestmark = pytest.mark.anyio
PATH = "/api/dead-letters"
SCOPES = ("videos:read", "videos:render", "catalog:write")


async def fail(connection: Any, task: Any) -> None:
    """A worker takes the task, and it cannot be done."""
    lease: Lease | None = await leases.acquire(connection, TaskId(task), "w")
    assert lease is not None
    if lease.kind == "webhook":
        await leases.finish(connection, lease, "failed", error={"code": "undelivered", "reason": "410"})
    else:
        await outcomes.record_outcome(connection, lease, TaskFailed("frame_policy", "frame 8: truncated"))


async def queued(connection: Any, **conditions: Any) -> list[Any]:
    where = " AND ".join(f"{name} = :{name}" for name in conditions) or "true"
    query = text(f"SELECT id FROM tasks WHERE state = 'queued' AND {where} ORDER BY number")
    return list(await connection.scalars(query, conditions))


@pytest.fixture
async def failed(api: CatalogueApi) -> dict[str, Any]:
    """Of alice: a render of which a segment has failed, its webhook that was given up, and a failed scan."""
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 200)
        render = await add_render(connection, dataset)
        await lifecycle.register_webhook(connection, render, Subject("alice"), "https://lab.example/hook?key=secret")
        await fail(connection, (await queued(connection))[1])
        await fail(connection, (await queued(connection, kind="webhook"))[0])
        await fail(connection, (await enqueue_scan(connection, dataset.id))["id"])
    return {"render": render, "dataset": dataset.id, "experiment": dataset.experiment_id}


async def letters(client: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:
    """By task."""
    answer = await client.get(PATH, params=parameters)
    assert answer.status_code == 200, answer.text
    return {letter["task"]: letter for letter in answer.json()}


async def status_of(api: CatalogueApi, table: str, column: str, id_: Any) -> Any:
    async with api.database.service_transaction() as connection:
        return await connection.scalar(text(f"SELECT {column} FROM {table} WHERE id = :id"), {"id": id_})


async def test_they_are_listed_with_their_reasons(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.client("alice", *SCOPES) as alice:
        found = await letters(alice)
        assert found.keys() == {"segment", "webhook", "scan"}
        segment = found["segment"]
        assert (segment["code"], segment["reason"]) == ("frame_policy", "frame 8: truncated")
        assert (segment["job_id"], segment["segment"], segment["attempts"]) == (str(failed["render"]), 1, 1)
        assert found["webhook"]["url"] == "https://lab.example/hook?key=secret"
        assert found["scan"]["dataset_id"] == str(failed["dataset"])
        assert (await letters(alice, lane="webhook")).keys() == {"webhook"}
        first = await alice.get(PATH, params={"limit": 1, "count": "exact"})
        assert first.headers["X-Total-Count"] == "3"
        second = await alice.get(first.links["next"]["url"])
        assert second.status_code == 200 and second.json() != first.json()


async def test_others_do_not_see_them(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE experiments SET visibility = 'public'"))
    async with api.client("bob", *SCOPES) as bob, api.client("op", "videos:read", "ops:read") as operator:
        assert await letters(bob) == await letters(operator) == {}
        assert (await bob.get(PATH, params={"all": True})).status_code == 403
        seen = await letters(operator, all=True)
        assert seen.keys() == {"segment", "webhook", "scan"} and seen["webhook"]["url"] is None
        refused = await operator.post(f"{PATH}/{seen['scan']['id']}/dismiss")
        assert refused.status_code == 403
    async with api.client("root", ADMIN) as root:
        assert (await letters(root, all=True))["webhook"]["url"]


async def test_who_may_not_see_what_it_is_about_sees_it_no_more(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE experiments SET owner = 'carol'"))
    async with api.client("alice", *SCOPES) as alice:
        assert await letters(alice) == {}


async def test_a_render_is_retried_with_what_it_has(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.client("alice", *SCOPES) as alice:
        letter = (await letters(alice))["segment"]
        assert (await alice.post(f"{PATH}/{letter['id']}/retry")).status_code == 202
        assert "segment" not in await letters(alice)
        assert (await alice.post(f"{PATH}/{letter['id']}/retry")).status_code == 404
    assert await status_of(api, "renders", "status", failed["render"]) == "queued"


async def test_a_webhook_is_called_again(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.client("alice", *SCOPES) as alice:
        letter = (await letters(alice))["webhook"]
        assert (await alice.post(f"{PATH}/{letter['id']}/retry")).status_code == 202
        async with api.database.service_transaction() as connection:
            assert await queued(connection, kind="webhook") == [UUID(letter["id"])]
            await fail(connection, letter["id"])
        assert "webhook" in await letters(alice), "what fails again is a dead letter again"


async def test_a_scan_needs_the_scope_of_scans(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.client("alice", *SCOPES) as alice, api.client("alice", "videos:read", "videos:render") as less:
        letter = (await letters(alice))["scan"]
        assert (await less.post(f"{PATH}/{letter['id']}/retry")).status_code == 403
        assert (await alice.post(f"{PATH}/{letter['id']}/retry")).status_code == 202
        assert "scan" not in await letters(alice), "another scan takes its place"
    assert await status_of(api, "datasets", "state", failed["dataset"]) == "scanning"


async def test_what_is_dismissed_is_gone_and_stays_failed(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.client("alice", *SCOPES) as alice, api.client("root", ADMIN) as root:
        for letter in (await letters(alice)).values():
            for expected in (204, 404):
                answer = await alice.post(f"{PATH}/{letter['id']}/dismiss")
                assert answer.status_code == expected
        assert await letters(alice) == await letters(root, all=True) == {}
        assert await status_of(api, "tasks", "dismissed_by", letter["id"]) == "alice"
    assert await status_of(api, "renders", "status", failed["render"]) == "failed"
    async with api.database.service_transaction() as connection:
        await lifecycle.retry_render(connection, failed["render"])
        await fail(connection, (await queued(connection, kind="segment"))[0])
    async with api.client("alice", *SCOPES) as alice:
        assert (await letters(alice)).keys() == {"segment"}


async def test_a_retry_needs_a_place_in_the_queue(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 60)
        for step in range(1, api.app.state.resources.limits.max_queued + 1):
            await add_render(connection, dataset, step)
    async with api.client("alice", *SCOPES) as alice:
        letter = (await letters(alice))["segment"]
        refused = await alice.post(f"{PATH}/{letter['id']}/retry")
        assert refused.status_code == 429 and int(refused.headers["Retry-After"]) > 0
        assert "segment" in await letters(alice)


async def test_webhooks_that_were_given_up_are_kept_for_longer(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.client("alice", *SCOPES) as alice:
        for days, kept in ((29, True), (31, False)):
            async with api.database.service_transaction() as connection:
                query = text("UPDATE tasks SET finished_at = now() - make_interval(days => :days)")
                await connection.execute(query, {"days": days})
                await queue.prune(connection)
            assert ("webhook" in await letters(alice)) is kept


async def test_they_are_counted(api: CatalogueApi, failed: dict[str, Any]) -> None:
    async with api.client("root", ADMIN) as root:
        told = (await root.get("/metrics")).text
    assert 'reelmill_dead_letters{code="frame_policy",lane="render"} 1.0' in told
    assert 'reelmill_dead_letters{code="undelivered",lane="webhook"} 1.0' in told

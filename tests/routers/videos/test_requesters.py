"""A render belongs to each who asked for it, and to nobody longer than he may see its frames."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from service.errors import NotFound
from service.identity.claims import LEEWAY_S
from service.identity.tokens import issue_token
from service.ids import RenderId
from service.plan.render_plan import ObjectRef
from service.processes.app import create_app
from service.store.objects.digests import sha256_hex
from service.store.objects.s3 import S3ObjectStore
from service.store.renders import lifecycle
from service.webhooks.settings import WebhookSettings
from tests.support.data.database_rows import add_dataset
from tests.support.patience import PATIENCE_S
from tests.support.processes.catalogue_api import SECRET as TOKEN_SECRET
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api, run_query
from tests.support.servers.s3_server import needs_s3, s3_server
from tests.webhooks.test_delivery import SECRET

pytestmark = pytest.mark.anyio
PEOPLE = ("alice", "bob", "carol", "dave", "root")
SCOPES = ("catalog:read", "catalog:write", "videos:read", "videos:render", "query:run")


@dataclass
class World:
    """An experiment of alice's that is shared with bob and carol; root is an admin, dave a stranger."""

    api: CatalogueApi
    people: dict[str, httpx.AsyncClient]
    experiment: str
    dataset: str

    async def ask(self, who: str, status: int = 202, headers: dict[str, str] | None = None, **fields: Any) -> str:
        body = {"experiment_id": self.experiment, "decimation_factor": 1, "fps": 30} | fields
        answer = await self.people[who].post("/api/videos/generate", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return str(answer.json().get("job_id"))

    async def send(self, who: str, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
        answer = await self.people[who].request(method, path, **more)
        return answer.status_code, answer.json()

    async def status(self, who: str, job: str) -> dict[str, Any]:
        code, body = await self.send(who, "GET", f"/api/videos/{job}")
        return body if code == 200 else {"status": code}

    async def share(self, *subjects: str, visibility: str = "shared") -> None:
        change = {"visibility": visibility, "shared_with": list(subjects)}
        code, body = await self.send("alice", "PATCH", f"/api/experiments/{self.experiment}", json=change)
        assert code == 200, body

    async def mine(self, who: str) -> list[str]:
        rows = (await self.people[who].get("/api/videos", params={"mine": True})).raise_for_status().json()
        return [row["job_id"] for row in rows]

    async def delete(self) -> None:
        code, body = await self.send("alice", "DELETE", f"/api/experiments/{self.experiment}?force=true")
        assert code == 200, body

    async def stream(self, who: str, path: str, send: Any) -> None:
        """A request to the application itself, as HTTPX waits for the end of an answer before it returns any of it."""
        request = self.people[who].build_request("GET", path)
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
        }
        scope |= {"headers": headers, "scheme": "http", "server": ("test", 80), "client": ("127.0.0.1", 1)}

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(3600)
            return {"type": "http.disconnect"}

        await self.api.app(scope, receive, send)

    async def sql(self, statement: str) -> Any:
        async with self.api.database.service_transaction() as connection:
            result = await connection.execute(text(statement))
            return list(result.all()) if result.returns_rows else None


@pytest.fixture
async def world(postgres_url: str, tmp_path: Path) -> AsyncIterator[World]:
    webhooks = WebhookSettings.model_construct(secret=SECRET, allow_private=True)
    async with catalogue_api(postgres_url, tmp_path, webhooks=webhooks) as api, AsyncExitStack() as stack:
        async with api.database.service_transaction() as connection:
            dataset = await add_dataset(connection, 4)
        people = {
            name: await stack.enter_async_context(api.client(name, *SCOPES, *(["admin"] if name == "root" else [])))
            for name in PEOPLE
        }
        world = World(api, people, str(dataset.experiment_id), str(dataset.id))
        await world.share("bob", "carol")
        yield world


async def test_a_joined_render_is_cancelled_by_the_last(world: World) -> None:
    job = await world.ask("bob", webhook_url="http://127.0.0.1:9/bob")
    assert await world.ask("carol", webhook_url="http://127.0.0.1:9/carol") == job
    assert await world.mine("bob") == await world.mine("carol") == [job] and await world.mine("alice") == []
    code, told = await world.send("bob", "POST", f"/api/videos/{job}/cancel")
    assert (code, told["status"], told["mine"], told["requested_by_others"]) == (200, "queued", False, True)
    assert await world.mine("bob") == [] and await world.mine("carol") == [job]
    for method, path in (("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""), ("PATCH", "")):
        body = {"priority": 1} if method == "PATCH" else None
        code, _ = await world.send("bob", method, f"/api/videos/{job}{path}", json=body)
        assert code == 404, f"{method}{path}: it is not bob's any more"
    assert (await world.send("carol", "POST", f"/api/videos/{job}/cancel"))[1]["status"] == "cancelled"
    called = await world.sql("SELECT payload ->> 'url' FROM tasks WHERE kind = 'webhook'")
    assert [row[0] for row in called] == ["http://127.0.0.1:9/carol"]


async def test_a_joined_render_is_deleted_by_the_last(world: World) -> None:
    job = await world.ask("bob")
    await world.ask("alice")
    await world.sql("UPDATE renders SET status = 'succeeded'")
    code, told = await world.send("bob", "DELETE", f"/api/videos/{job}")
    assert (code, told["renders"], told["requested_by_others"]) == (200, 0, True)
    assert (await world.status("alice", job))["status"] == "succeeded"
    code, told = await world.send("alice", "DELETE", f"/api/videos/{job}")
    assert (code, told["renders"], told["requested_by_others"]) == (200, 1, False)
    assert (await world.status("alice", job))["status"] == 404


@pytest.mark.parametrize("who", ["alice", "root"])
async def test_the_owner_of_the_experiment_and_admins_act_for_all(world: World, who: str) -> None:
    job = await world.ask("bob")
    await world.ask("carol")
    await world.ask(who)
    assert (await world.send("bob", "POST", f"/api/videos/{job}/cancel?for_all=true"))[0] == 403
    assert (await world.status(who, job))["status"] == "queued"
    code, told = await world.send(who, "POST", f"/api/videos/{job}/cancel?for_all=true")
    assert (code, told["status"]) == (200, "cancelled")
    other = await world.ask("bob", fps=25)
    assert (await world.send(who, "DELETE", f"/api/videos/{other}?force=true"))[1]["renders"] == 1


async def test_nobody_lowers_the_priority_of_another(world: World) -> None:
    job = await world.ask("bob", priority=3)
    await world.ask("carol", priority=7)
    assert (await world.status("bob", job))["priority"] == 7
    assert (await world.send("bob", "PATCH", f"/api/videos/{job}", json={"priority": 0}))[1]["priority"] == 7
    assert (await world.send("carol", "PATCH", f"/api/videos/{job}", json={"priority": 5}))[1]["priority"] == 5
    assert [row[0] for row in await world.sql("SELECT priority FROM renders")] == [5]
    await world.send("carol", "POST", f"/api/videos/{job}/cancel")
    assert (await world.status("bob", job))["priority"] == 0
    assert (await world.send("alice", "PATCH", f"/api/videos/{job}", json={"priority": 9}))[1]["priority"] == 9


async def test_the_queue_of_each_requester_is_bounded(world: World) -> None:
    jobs = [await world.ask("bob", fps=fps) for fps in range(1, 21)]
    await world.ask("carol", fps=60)
    await world.ask("bob", status=429, fps=60)
    assert await world.ask("bob", fps=1) == jobs[0], "it is his already"
    await world.send("bob", "POST", f"/api/videos/{jobs[0]}/cancel")
    await world.ask("bob", fps=60)
    assert (await world.send("bob", "POST", f"/api/videos/{jobs[0]}/retry"))[0] == 429, "a retry is one more, too"


async def test_the_bound_holds_when_all_come_at_once(world: World) -> None:
    bodies = [{"experiment_id": world.experiment, "decimation_factor": 1, "fps": fps} for fps in range(1, 41)]
    answers = await asyncio.gather(*(world.people["bob"].post("/api/videos/generate", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [202] * 20 + [429] * 20
    jobs = [answer.json()["job_id"] for answer in answers if answer.status_code == 202]
    for job in jobs[:10]:
        await world.send("bob", "POST", f"/api/videos/{job}/cancel")
    for fps in range(101, 106):
        await world.ask("bob", fps=fps)
    retries = await asyncio.gather(*(world.send("bob", "POST", f"/api/videos/{job}/retry") for job in jobs[:10]))
    assert sorted(code for code, _ in retries) == [202] * 5 + [429] * 5


async def test_an_assembly_that_ends_after_a_cancel_is_done_again_by_a_retry(world: World) -> None:
    """The worker had finished it before it noticed the cancel: the retry queues another one."""
    job = await world.ask("bob")
    async with world.api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE tasks SET state = 'running'"))
        await connection.execute(text("UPDATE tasks SET state = 'succeeded'"))
        await lifecycle.enqueue_assembly(connection, RenderId(UUID(job)))
        await connection.execute(text("UPDATE tasks SET state = 'running' WHERE kind = 'assemble'"))
    await world.send("bob", "POST", f"/api/videos/{job}/cancel")
    await world.sql("UPDATE tasks SET state = 'succeeded' WHERE kind = 'assemble'")
    assert (await world.send("bob", "POST", f"/api/videos/{job}/retry"))[0] == 202
    waiting = await world.sql("SELECT kind FROM tasks WHERE state = 'queued'")
    assert [row[0] for row in waiting] == ["assemble"]


async def test_a_guest_does_not_learn_who_else_asked(world: World) -> None:
    job = await world.ask("carol")
    await world.ask("bob")
    document = {"table": "renders", "columns": ["id", "owner"], "order_by": ["owner"]}
    for who, owner in (("carol", "carol"), ("bob", None), ("alice", "carol"), ("root", "carol")):
        told = await world.people[who].get(f"/api/videos/{job}")
        assert told.json()["owner"] == owner, who
        assert owner or "carol" not in told.text
        assert (await run_query(world.people[who], **document))["rows"] == [{"id": job, "owner": owner}]
    guessed = await run_query(world.people["bob"], table="renders", filters={"owner": "carol"})
    assert guessed["rows"] == []


async def test_a_share_that_ends_ends_with_what_was_asked_for(world: World) -> None:
    key = {"Idempotency-Key": "one"}
    joined = await world.ask("bob", headers=key, webhook_url="http://127.0.0.1:9/bob")
    await world.ask("carol", webhook_url="http://127.0.0.1:9/bob")
    alone, cancelled, done = [await world.ask("bob", fps=fps) for fps in (10, 11, 12)]
    await world.send("bob", "POST", f"/api/videos/{cancelled}/cancel")
    await world.sql(f"UPDATE renders SET status = 'succeeded' WHERE id = '{done}'")
    await world.share("carol")
    seen = {job: (await world.status("carol", job))["status"] for job in (joined, alone, cancelled, done)}
    assert seen == {joined: "queued", alone: "cancelled", cancelled: "cancelled", done: "succeeded"}
    active = await world.sql("SELECT DISTINCT render_id::text FROM tasks WHERE state IN ('queued', 'running')")
    assert {row[0] for row in active} == {joined, done}, "the tasks of those that were cancelled are, too"
    for job in seen:
        for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""), ("PATCH", "")):
            body = {"priority": 1} if method == "PATCH" else None
            code, _ = await world.send("bob", method, f"/api/videos/{job}{path}", json=body)
            assert code == 404, (method, path)
    assert await world.mine("bob") == []
    assert (await run_query(world.people["bob"], table="renders"))["rows"] == []
    await world.ask("bob", status=404, headers=key, webhook_url="http://127.0.0.1:9/bob")
    left = await world.sql("SELECT DISTINCT subject FROM requesters UNION SELECT owner FROM webhooks")
    assert {row[0] for row in left} == {"carol"}
    await world.share("bob", "carol")
    assert await world.mine("bob") == [], "what was taken from him is not his again"


async def test_an_old_cursor_shows_nothing_more(world: World) -> None:
    for fps in (10, 11):
        await world.ask("carol", fps=fps)
    bob, document = world.people["bob"], {"table": "renders", "columns": ["id"], "limit": 1}
    link = (await bob.get("/api/videos", params={"limit": 1, "count": "exact"})).links["next"]["url"]
    cursor = (await run_query(bob, **document))["next_cursor"]
    await world.share("carol")
    later = await bob.get(link)
    assert (later.status_code, later.json(), later.headers["X-Total-Count"], later.links) == (200, [], "0", {})
    assert (await run_query(bob, **document, cursor=cursor))["rows"] == []


async def test_public_and_private(world: World) -> None:
    """A stranger has a right while an experiment is public; an admin has one whatever it is."""
    await world.share(visibility="public")
    strange, ours, admins = await world.ask("dave", fps=10), await world.ask("alice"), await world.ask("root", fps=12)
    await world.share(visibility="private")
    seen = {job: (await world.status("alice", job))["status"] for job in (strange, ours, admins)}
    assert seen == {strange: "cancelled", ours: "queued", admins: "queued"}
    assert await world.mine("root") == [admins] and await world.mine("dave") == []


async def test_sharing_ends_while_renders_are_asked_for(world: World) -> None:
    """In any order of requests, no render is left that a guest without a right had asked for."""
    for fps in range(10, 14):
        await world.share("bob")
        body = {"experiment_id": world.experiment, "decimation_factor": 1, "fps": fps}
        asked = [world.people["bob"].post("/api/videos/generate", json=body | {"quality": 60 + n}) for n in range(4)]
        answers = await asyncio.gather(*asked[:2], world.share("carol"), *asked[2:])
        assert {answer.status_code for answer in answers if answer is not None} <= {202, 404}
    assert await world.sql("SELECT * FROM renders WHERE status <> 'cancelled'") == []
    assert await world.sql("SELECT * FROM requesters WHERE subject = 'bob'") == []


@pytest.mark.parametrize("stream", ["/api/videos/{job}/events", "/api/videos/events?job={job}"])
async def test_a_stream_of_events_ends_with_the_share(world: World, stream: str) -> None:
    """The follower is not even told that his render was cancelled by it."""
    job, told = await world.ask("bob"), b""

    async def send(message: dict[str, Any]) -> None:
        nonlocal told
        if message.get("body") and not told:
            await world.share("carol")
        told += message.get("body", b"")

    async with asyncio.timeout(PATIENCE_S):
        await world.stream("bob", stream.format(job=job), send)
    assert (b"queued" in told, b"cancelled" in told) == (True, False)
    assert (await world.status("carol", job))["status"] == "cancelled"


@pytest.mark.parametrize("stream", ["/api/videos/{job}/events", "/api/videos/events?job={job}"])
async def test_a_stream_of_events_ends_with_the_token(world: World, stream: str) -> None:
    job = await world.ask("alice")
    token = issue_token(TOKEN_SECRET, "alice", SCOPES, timedelta(seconds=1 - LEEWAY_S))
    async with asyncio.timeout(PATIENCE_S):
        told = await world.people["alice"].get(stream.format(job=job), headers={"Authorization": f"Bearer {token}"})
    assert told.status_code == 200 and "expired" in told.text.split("event: stopping")[1]


@pytest.mark.parametrize("ends", ["share", "deletion"])
@pytest.mark.parametrize("path", ["videos/{job}/video", "videos/{job}/receipt", "datasets/{dataset}/frames/0/image"])
async def test_a_stream_of_bytes_ends_with_the_right(
    world: World, monkeypatch: pytest.MonkeyPatch, ends: str, path: str
) -> None:
    """Between two chunks the right ends: the second is not sent, and the client is not told that this was all."""
    monkeypatch.setattr("service.routers.http.object_streams.RIGHT_CHECK_INTERVAL_S", 0)
    job, size = await world.ask("bob"), 3 * 2**20
    for key in (f"renders/{job}/file", f"frames/{world.experiment}/{world.dataset}/f00000.jpg"):
        await world.api.put(key, bytes(size))
    files = f"video_key = 'renders/{job}/file', receipt_key = 'renders/{job}/file', video_bytes = {size}"
    await world.sql(f"UPDATE renders SET status = 'succeeded', {files}")
    received = 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal received
        if received == 0 and message.get("body"):
            change = world.share("carol") if ends == "share" else world.delete()
            await change
        received += len(message.get("body", b""))

    url = "/api/" + path.format(job=job, dataset=world.dataset)
    with pytest.raises(NotFound):
        await world.stream("bob", url, send)
    assert 0 < received < size


async def test_a_preview_is_not_sent_after_the_share(world: World) -> None:
    """The share ends while the request waits for a worker, here this test, that renders the preview."""
    await world.api.put(f"frames/{world.experiment}/{world.dataset}/f00000.jpg", b"a frame")
    path = f"/api/datasets/{world.dataset}/frames/0/image?width=32"
    waiting = {who: asyncio.create_task(world.people[who].get(path)) for who in ("bob", "carol")}
    async with asyncio.timeout(PATIENCE_S):
        while not (tasks := await world.sql("SELECT payload ->> 'key' FROM tasks WHERE kind = 'preview'")):
            await asyncio.sleep(0.01)
    await world.share("carol")
    ((key,),) = tasks
    await world.api.put(key, b"a preview")
    row = f"'{key}', '{world.dataset}', '{sha256_hex(b'a preview')}', 9"
    await world.sql(f"INSERT INTO previews (key, dataset_id, sha256, bytes) VALUES ({row})")
    for state in ("running", "succeeded"):
        await world.sql(f"UPDATE tasks SET state = '{state}' WHERE kind = 'preview'")
    assert (await waiting["bob"]).status_code == 404
    assert (await waiting["carol"]).content == b"a preview"


@needs_s3
async def test_the_address_of_a_video_lives_for_minutes(world: World) -> None:
    objects = S3ObjectStore(s3_server().settings())
    await objects.check()
    key, job = "renders/x/video.mp4", await world.ask("bob")
    info = await objects.put(ObjectRef(objects.bucket, key), b"x", "video/mp4")
    video = f"video_key = '{key}', video_bytes = 1, video_etag = '{info.etag}'"
    await world.sql(f"UPDATE renders SET status = 'succeeded', {video}")
    app = create_app(replace(world.api.app.state.resources, objects=objects))
    async with replace(world.api, app=app).client("bob", "videos:read") as bob:
        path = f"/api/videos/{job}/video?redirect=true"
        answer = await bob.get(path)
        assert (answer.status_code, "X-Amz-Expires=300&" in answer.headers["location"]) == (302, True)
        await world.share()
        assert (await bob.get(path)).status_code == 404
    await objects.close()

"""Every route of the OpenAPI document, asked by everybody: `access_table.csv` says what each is answered.

A new route needs a row there. If it needs a body or a query, or a new parameter in its path, say so in REQUESTS and
World.parameters. A cell is a status; `-`: nobody can be without a scope that is not needed.
"""

import csv
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text, update

from service.identity.claims import ADMIN, Scope
from service.ids import Subject
from service.routers.http.signing import Signer
from service.store import webhook_secrets, workers
from service.store.catalog import presets
from service.store.catalog.datasets import DatasetRow
from service.store.database import Caller, load_signing_key
from service.store.renders import requesters
from service.store.schedules import schedules
from service.store.tables import experiments
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor, wait_until_ended

pytestmark = pytest.mark.anyio
TABLE = Path(__file__).with_name("access_table.csv")
# The subject of each caller but those without a token or scope: bob is a guest, and carol was one. erin is a guest who
# may see the render, but did not ask for it.
CALLERS = {"owner": "alice", "guest": "bob", "viewer": "erin", "revoked": "carol", "stranger": "dave", "admin": "root"}
SCOPES = frozenset(get_args(Scope)) - {ADMIN}
SECRET_NAME = "orchid-trial"

# What a page of the service sends with requests that change something.
OWN_PAGE = {"Origin": "http://test", "X-Reelmill-Request": "1"}

# What a request needs besides its path. The world of `setup` is changed by SQL before the first caller asks.
REQUESTS: dict[str, dict[str, Any]] = {
    "POST /api/session": {"json": {"token": "{token}"}, "headers": OWN_PAGE},
    "DELETE /api/session": {"headers": OWN_PAGE},
    "POST /api/experiments": {"json": {"name": "another"}},
    "PATCH /api/experiments/{experiment_id}": {"json": {"description": "changed"}},
    "DELETE /api/experiments/{experiment_id}": {"params": {"force": True}},
    "POST /api/experiments/{experiment_id}/datasets": {"json": {"name": "another"}},
    "PATCH /api/datasets/{dataset_id}": {"json": {"name": "changed"}},
    "DELETE /api/datasets/{dataset_id}": {"params": {"force": True}},
    "PUT /api/datasets/{dataset_id}/objects/{name}": {"content": b"x"},
    "POST /api/datasets/{dataset_id}/objects": {"content": bytes(1024)},  # an archive of no files
    "POST /api/datasets/{dataset_id}/uploads": {"json": {"files": [{"name": "a.jpg", "size": 1}]}},
    "PUT /api/datasets/{dataset_id}/uploads/{name}": {"content": b"x", "params": {"grant": "{grant}"}},
    "POST /api/events/s3": {"json": {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]}},
    "POST /api/datasets/{dataset_id}/frames/{index}/preview": {"json": {"scale": 0.5}},
    "GET /api/videos/events": {"params": {"job": "{job_id}"}},
    "POST /api/videos/generate": {"json": {"experiment_id": "{experiment_id}", "decimation_factor": 1, "fps": 10}},
    "POST /api/videos/batch": {"json": {"renders": [{"experiment_id": "{experiment_id}", "preset": "{preset_id}"}]}},
    "GET /api/videos/latest": {"params": {"experiment_id": "{experiment_id}"}},
    "GET /api/videos/latest/video": {"params": {"dataset_id": "{dataset_id}"}},
    "POST /api/presets": {"json": {"name": "another", "options": {"fps": 5}}},
    "PATCH /api/presets/{preset_id}": {"json": {"options": {"fps": 5}}},
    "PATCH /api/videos/{job_id}": {"json": {"priority": 1}},
    "DELETE /api/videos/{job_id}": {"params": {"force": True}},
    "POST /api/videos/{job_id}/retry": {"setup": "UPDATE renders SET status = 'cancelled' WHERE status = 'queued'"},
    "POST /api/schedules": {
        "json": {
            "name": "another",
            "cron": "0 6 * * *",
            "request": {"experiment_id": "{experiment_id}", "decimation_factor": 1, "fps": 10},
        }
    },
    "PATCH /api/schedules/{schedule_id}": {"json": {"enabled": False}},
    "POST /api/webhooks/secrets": {"setup": "DELETE FROM webhook_secrets"},
    "POST /api/database/query": {"json": {"table": "renders"}},
    "POST /api/agent/query": {"json": {"query": "latest experiments"}},
}


# What a worker makes when it is asked for first; nothing is changed by it.
PICTURES = (
    "POST /api/datasets/{dataset_id}/frames/{index}/preview",
    "GET /api/datasets/{dataset_id}/frames/{index}/samples",
    "GET /api/datasets/{dataset_id}/frames/{index}/array",
    "GET /api/videos/{job_id}/frames/{k}/image",
    "GET /api/datasets/{dataset_id}/thumbnails/{level}/{number}",
)


# A webhook of alice's that was given up.
ADD_DEAD_LETTER = """
    INSERT INTO tasks (id, kind, owner, state, finished_at, error, payload) VALUES (
        gen_random_uuid(), 'webhook', 'alice', 'failed', now(), '{"code": "undelivered", "reason": "410"}',
        jsonb_build_object('url', 'https://lab.example', 'owner', 'alice', 'body', jsonb_build_object(
            'data', jsonb_build_object('experiment_id', CAST(:experiment AS text))))) RETURNING id
"""


def _schedule_of(dataset: DatasetRow) -> dict[str, Any]:
    request = {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 10}
    values = {"name": f"{SECRET_NAME} {dataset.id}", "cron": "0 6 * * *", "zone": "UTC", "request": request}
    return values | {"experiment_id": dataset.experiment_id}


def read_table() -> dict[str, dict[str, str]]:
    """Operation -> column -> cell."""
    with TABLE.open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    return {row["operation"]: {name: cell.strip() for name, cell in row.items()} for row in rows}


ROWS = read_table()


@dataclass(frozen=True)
class World:
    """An experiment of alice's, shared with bob and erin, with a render that alice, bob and carol asked for."""

    api: CatalogueApi
    clients: dict[str, httpx.AsyncClient]
    parameters: dict[str, str]

    async def send(self, who: httpx.AsyncClient, operation: str) -> httpx.Response:
        method, _, path = operation.partition(" ")
        request = {name: value for name, value in REQUESTS.get(operation, {}).items() if name != "setup"}
        return await who.request(method, path.format(**self.parameters), **self._fill(request))

    def _fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._fill(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._fill(part) for part in value]
        return value.format(**self.parameters) if isinstance(value, str) else value


async def plant(world: World, home: Path) -> World:
    """The same world with another experiment, whose render is queued; nobody has another one in the queue."""
    api = world.api
    async with api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE renders SET status = 'cancelled' WHERE status = 'queued'"))
        dataset = await add_footage(connection, home, 4)
        sharing = {"visibility": "shared", "shared_with": ["bob", "erin"]}
        values = {"name": f"{SECRET_NAME} {dataset.id}"} | sharing
        this = experiments.c.id == dataset.experiment_id
        await connection.execute(update(experiments).where(this).values(**values))
        options = replace(OPTIONS, outputs=("preview_strip", "keogram"))
        job = await add_render(connection, dataset, options=options)
        for who in ("bob", "carol"):
            await requesters.add_requester(connection, job, Caller(Subject(who)), 0)
        await requesters.end_lost_rights(connection, dataset.experiment_id)
        of_preset = {"options": {"decimation_factor": 1, "fps": 10}} | values
        preset = await presets.create(connection, Subject("alice"), of_preset)
        await connection.execute(text("DELETE FROM webhook_secrets"))
        secret = await webhook_secrets.create(connection, Subject("alice"))
        await workers.record_heartbeat(connection, worker := uuid4(), "render-1:4711", 1, "0")
        await workers.update_facts(connection, worker, {"offers": []})
        schedule = await schedules.create(connection, Subject("alice"), _schedule_of(dataset))
        letter = await connection.scalar(text(ADD_DEAD_LETTER), {"experiment": str(dataset.experiment_id)})
        signer = Signer(await load_signing_key(connection))
    grant = signer.sign("upload", [str(dataset.id), "a.jpg", 1, 2**33])
    ids = {"experiment_id": str(dataset.experiment_id), "dataset_id": str(dataset.id), "job_id": str(job)}
    ids |= {
        "preset_id": str(preset["id"]),
        "secret_id": str(secret["id"]),
        "worker_id": str(worker),
        "letter_id": str(letter),
        "schedule_id": str(schedule["id"]),
    }
    token = _token(api.client("alice"))
    fixed = {"name": "a.jpg", "index": "0", "k": "0", "level": "0", "number": "0", "kind": "jpg", "grant": grant}
    fixed |= {"token": token}
    return replace(world, parameters=ids | fixed)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="module")
def _many_schedules() -> Iterator[None]:
    """Each operation that changes something gets a schedule of its own, all of them alice's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedules, "MAX_SCHEDULES", 10_000)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
async def rendered_world(postgres_url: str, home: Path) -> AsyncIterator[World]:
    """A world whose render has succeeded."""
    async with catalogue_api(postgres_url, home) as api, AsyncExitStack() as stack:
        clients = {}
        for who, subject in CALLERS.items():
            client = api.client(subject, *([ADMIN] if who == "admin" else SCOPES))
            clients[who] = await stack.enter_async_context(client)
        world = await plant(World(api, clients, {}), home)
        async with running_supervisor(api.database, home):
            ended = await wait_until_ended(api.database, UUID(world.parameters["job_id"]))
            for operation in PICTURES:
                (await world.send(clients["owner"], operation)).raise_for_status()
        assert ended["status"] == "succeeded", ended
        yield world


async def test_the_table_has_a_row_for_every_route(rendered_world: World) -> None:
    paths = rendered_world.api.app.openapi()["paths"]
    documented = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert documented - set(ROWS) == set(), f"say in {TABLE.name} who may do this"
    assert set(ROWS) - documented == set(), f"{TABLE.name} tells of routes that are not there"


@pytest.mark.parametrize("operation", ROWS)
async def test_who_is_answered_what(rendered_world: World, home: Path, operation: str) -> None:
    reading = operation.startswith("GET ") or operation in PICTURES
    world = rendered_world if reading else await plant(rendered_world, home)
    row, answers = ROWS[operation], {}
    for who in ("no token", "missing scope", *CALLERS):
        if row[who] == "-":
            continue
        if setup := REQUESTS.get(operation, {}).get("setup"):
            async with world.api.database.service_transaction() as connection:
                await connection.execute(text(setup))
        client = world.clients.get(who) or _client_without(world, None if who == "no token" else row["scope"])
        answer = await world.send(client, operation)
        answers[who] = str(answer.status_code)
        if who in ("no token", "revoked", "stranger"):
            assert SECRET_NAME not in f"{answer.text} {answer.headers}", f"{who} learns of it"
        if answer.is_success and not reading:
            world = await plant(world, home)
    assert answers == {who: row[who] for who in answers}


@pytest.mark.parametrize("operation", [name for name in ROWS if name.startswith("GET ")])
async def test_a_cookie_opens_what_its_token_opens(rendered_world: World, operation: str) -> None:
    row, answers = ROWS[operation], {}
    for who in ("missing scope", *CALLERS):
        if row[who] != "-":
            client = rendered_world.clients.get(who) or _client_without(rendered_world, row["scope"])
            async with _by_cookie(rendered_world, client) as browser:
                answers[who] = str((await rendered_world.send(browser, operation)).status_code)
    assert answers == {who: row[who] for who in answers}


# Without signed uploads, which their address opens.
WRITES = [name for name, row in ROWS.items() if not name.startswith("GET ") and row["no token"] != "200"]


@pytest.mark.parametrize("operation", WRITES)
async def test_a_cookie_changes_nothing_for_other_sites(rendered_world: World, operation: str) -> None:
    async with _by_cookie(rendered_world, rendered_world.clients["admin"]) as browser:
        for headers in ({}, {"Origin": "http://test"}, OWN_PAGE | {"Origin": "http://test:8080"}):
            request = {name: REQUESTS.get(operation, {}).get(name) for name in ("json", "content", "params")}
            method, _, path = operation.partition(" ")
            path = path.format(**rendered_world.parameters)
            answer = await browser.request(method, path, headers=headers, **request)
            assert (answer.status_code, answer.json()["type"]) == (403, "/problems/cross-site-request")


@pytest.mark.parametrize("operation", [name for name, row in ROWS.items() if row["stranger"] == "404"])
async def test_what_is_hidden_looks_like_nothing(rendered_world: World, operation: str) -> None:
    """A stranger and a former guest are told the same of what they may not see as of what does not exist."""
    names = ("experiment_id", "dataset_id", "job_id", "letter_id", "preset_id", "schedule_id")
    ids = {name: str(uuid4()) for name in names}
    nothing = replace(rendered_world, parameters=rendered_world.parameters | ids)
    for who in ("stranger", "revoked"):
        answers = [await world.send(rendered_world.clients[who], operation) for world in (rendered_world, nothing)]
        told = [answer.json() | {"instance": "", "error_id": "", "status": answer.status_code} for answer in answers]
        assert told[0] == told[1]


async def test_a_dataset_of_others_looks_like_none(rendered_world: World) -> None:
    dave, body = rendered_world.clients["stranger"], {"decimation_factor": 1, "fps": 10}
    own = (await dave.post("/api/experiments", json={"name": "own"})).raise_for_status().json()["id"]
    (await dave.post(f"/api/experiments/{own}/datasets", json={"name": "own"})).raise_for_status()
    told = []
    for dataset in (rendered_world.parameters["dataset_id"], str(uuid4())):
        answer = await dave.post("/api/videos/generate", json=body | {"experiment_id": own, "dataset_id": dataset})
        told.append((answer.status_code, answer.text.replace(dataset, "").replace(answer.json()["error_id"], "")))
    assert told[0] == told[1]


def _token(client: httpx.AsyncClient) -> str:
    return client.headers["Authorization"].removeprefix("Bearer ")


def _by_cookie(world: World, client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A browser that has signed in with the token of the client."""
    transport, cookies = httpx.ASGITransport(world.api.app), {"reelmill_session": _token(client)}
    return httpx.AsyncClient(transport=transport, base_url="http://test", cookies=cookies)


def _client_without(world: World, scope: str | None) -> httpx.AsyncClient:
    """alice without this scope; None: without a token."""
    client = world.api.client("alice", *(SCOPES - {scope}))
    if scope is None:
        client.headers.pop("Authorization")
    return client

"""Secrets that sign a caller's webhooks, and how many webhooks he may hang on a render."""

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text, update

from service.store.renders.webhook_limits import MAX_OF_CALLER, MAX_OF_OTHERS, MAX_WAITING_CALLS
from service.store.tables import experiments
from service.webhooks.settings import WebhookSettings
from tests.support.data.database_rows import add_dataset
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
PATH = "/api/webhooks/secrets"
HOOK = "https://8.8.8.8/hook"


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    """Without a secret of the installation."""
    async with catalogue_api(postgres_url, tmp_path, webhooks=WebhookSettings.model_construct(secret=None)) as api:
        yield api


async def make_secret(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post(PATH)
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store"), answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_secret_is_shown_once(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    made = await make_secret(alice)
    key = base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)
    assert len(key) == 32 and made["fingerprint"] == hashlib.sha256(key).hexdigest()[:12]
    listed = await alice.get(PATH)
    assert listed.json() == [{name: made[name] for name in ("id", "fingerprint", "created_at")}]
    assert made["secret"] not in listed.text
    assert (await make_secret(alice))["secret"] != made["secret"]


async def test_secrets_are_rotated(alice: httpx.AsyncClient) -> None:
    first, second, third = [await make_secret(alice) for _ in range(3)]
    refused = await alice.post(PATH)
    assert (refused.status_code, "delete one" in refused.json()["detail"]) == (409, True)
    assert (await alice.delete(f"{PATH}/{first['id']}")).status_code == 204
    assert (await alice.delete(f"{PATH}/{first['id']}")).status_code == 404
    assert [row["id"] for row in (await alice.get(PATH)).json()] == [second["id"], third["id"]]
    await make_secret(alice)


async def test_secrets_are_the_subjects_own(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    made = await make_secret(alice)
    for scopes in (("videos:render",), ("admin",)):
        async with api.client("bob", *scopes) as bob:
            assert (await bob.get(PATH)).json() == []
            assert (await bob.delete(f"{PATH}/{made['id']}")).status_code == 404
    async with api.client("alice", "videos:read", "catalog:write") as reader:
        for answer in (await reader.get(PATH), await reader.post(PATH), await reader.delete(f"{PATH}/{made['id']}")):
            assert answer.status_code == 403
    assert len((await alice.get(PATH)).json()) == 1


async def test_a_secret_of_ones_own_allows_webhooks(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    body = await public_render(api) | {"webhook_url": HOOK}
    assert (await alice.post("/api/videos/generate", json=body)).status_code == 422
    await make_secret(alice)
    assert (await alice.post("/api/videos/generate", json=body)).status_code == 202


async def public_render(api: CatalogueApi) -> dict[str, Any]:
    """The body that renders a public experiment."""
    async with api.database.service_transaction() as connection:
        dataset = await add_dataset(connection, 4)
        await connection.execute(update(experiments).values(visibility="public"))
    return {"experiment_id": str(dataset.experiment_id), "decimation_factor": 1, "fps": 30}


async def hang(api: CatalogueApi, subject: str, body: dict[str, Any], url: str) -> httpx.Response:
    async with api.client(subject, "videos:render", "videos:read") as client:
        if not (await client.get(PATH)).json():
            await make_secret(client)
        return await client.post("/api/videos/generate", json=body | {"webhook_url": url})


async def test_a_caller_hangs_few_webhooks_on_a_render(api: CatalogueApi) -> None:
    body = await public_render(api)
    for number in range(MAX_OF_CALLER):
        assert (await hang(api, "stranger", body, f"{HOOK}/{number}")).status_code == 202
    refused = await hang(api, "stranger", body, f"{HOOK}/more")
    (problem,) = refused.json()["errors"]
    assert (refused.status_code, problem["pointer"], problem["code"]) == (422, "#/webhook_url", "too_many_webhooks")
    assert (await hang(api, "stranger", body, f"{HOOK}/0")).status_code == 202, "one that is there already fits"


async def test_strangers_do_not_displace_the_owners_webhooks(api: CatalogueApi) -> None:
    body = await public_render(api)
    async with api.client("alice", "videos:render") as alice:
        await alice.post("/api/videos/generate", json=body)
    for number in range(MAX_OF_OTHERS):
        answer = await hang(api, f"stranger {number // MAX_OF_CALLER}", body, f"{HOOK}/{number}")
        assert answer.status_code == 202, answer.text
    refused = await hang(api, "another", body, HOOK)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "too_many_webhooks")
    assert (await hang(api, "alice", body, HOOK)).status_code == 202
    async with api.database.service_transaction() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM webhooks")) == MAX_OF_OTHERS + 1


async def test_calls_that_wait_are_bounded(api: CatalogueApi) -> None:
    async with api.database.service_transaction() as connection:
        query = """INSERT INTO tasks (id, kind, payload)
            SELECT gen_random_uuid(), 'webhook', '{"owner": "stranger"}' FROM generate_series(1, :count)"""
        await connection.execute(text(query), {"count": MAX_WAITING_CALLS})
    body = await public_render(api)
    refused = await hang(api, "stranger", body, HOOK)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (429, "#/webhook_url")
    assert int(refused.headers["retry-after"]) > 0
    assert (await hang(api, "another", body, HOOK)).status_code == 202

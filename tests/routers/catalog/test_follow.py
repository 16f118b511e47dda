"""Following datasets over the API, and notifications of buckets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from service.store.catalog import follows
from tests.support.data.media import jpeg, numbered_picture
from tests.support.data.scanning import scan_dataset
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
EVENTS = "/api/events/s3"


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    async with catalogue_api(postgres_url, tmp_path, sources="camera=alice") as api:
        yield api


@pytest.fixture
async def alice(api: CatalogueApi) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client("alice", "catalog:read", "catalog:write", "events:write") as client:
        yield client


async def create_dataset(client: httpx.AsyncClient, name: str = "camera") -> str:
    """The path of a dataset of camera/day/."""
    experiment = (await client.post("/api/experiments", json={"name": name})).json()["id"]
    body = {"name": name, "bucket": "camera", "prefix": "day/"}
    created = await client.post(f"/api/experiments/{experiment}/datasets", json=body)
    return f"/api/datasets/{created.json()['dataset']['id']}"


async def value(api: CatalogueApi, query: str) -> Any:
    async with api.database.service_transaction() as connection:
        return await connection.scalar(text(query))


async def test_follow_and_unfollow(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    path = await create_dataset(alice)
    before = (await alice.get(path)).json()
    assert (before["followed"], before["follow"]) == (False, None)
    followed = await alice.put(f"{path}/follow")
    status = followed.json()["follow"]
    assert followed.json()["followed"] and status["looked_at"] is None and status["appended"] == 0
    again = await alice.put(f"{path}/follow")
    assert again.json() == followed.json(), "it is followed since the first time"

    await api.put("day/f1.jpg", jpeg(numbered_picture(1)), "camera")
    await scan_dataset(api.database, api.objects, UUID(path.rpartition("/")[2]))
    seen = await alice.get(path)
    assert seen.json()["follow"]["appended"] == 1
    listed = (await alice.get(f"/api/experiments/{seen.json()['experiment_id']}/datasets")).json()
    assert listed == [seen.json()]

    ended = await alice.delete(f"{path}/follow")
    assert (ended.status_code, ended.json()["followed"]) == (200, False)
    assert (await alice.delete(f"{path}/follow")).json() == ended.json()
    assert await value(api, "SELECT count(*) FROM follows") == 0


async def test_a_look_that_finds_nothing_does_not_change_the_etag(api: CatalogueApi, alice: httpx.AsyncClient) -> None:
    """Who changes a dataset that he has just read would be refused every few seconds."""
    path = await create_dataset(alice)
    tag = (await alice.put(f"{path}/follow")).headers["ETag"]
    async with api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE follows SET looked_at = now()"))
    seen = await alice.get(path)
    assert seen.json()["follow"]["looked_at"] and seen.headers["ETag"] == tag
    renamed = await alice.patch(path, json={"name": "renamed"}, headers={"If-Match": tag})
    assert renamed.status_code == 200 and renamed.json()["followed"]
    async with api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE follows SET problem = 'the bucket is away'"))
    answer = await alice.get(path, headers={"If-None-Match": renamed.headers["ETag"]})
    assert (answer.status_code, answer.json()["follow"]["problem"]) == (200, "the bucket is away")


async def test_too_many_are_refused(
    api: CatalogueApi, alice: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follows, "MAX_FOLLOWED", 1)
    first, second = [await create_dataset(alice, name) for name in ("one", "two")]
    assert (await alice.put(f"{first}/follow")).status_code == 200
    refused = await alice.put(f"{second}/follow")
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "1 datasets of this owner are followed: unfollow one where nothing comes any more",
    )
    assert (await alice.put(f"{first}/follow")).status_code == 200, "it is followed already"


MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "camera/day/f 1.jpg",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "",
            "eventTime": "2026-03-01T10:00:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"principalId": "minio"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "Config",
                "bucket": {"name": "camera", "ownerIdentity": {"principalId": "minio"}, "arn": "arn:aws:s3:::camera"},
                "object": {"key": "day%2Ff+1.jpg", "size": 9, "eTag": "e", "sequencer": "17C3"},
            },
            "source": {"host": "10.0.0.1", "port": "", "userAgent": "MinIO"},
        }
    ],
}
CEPH = {
    "Records": [
        {
            "eventVersion": "2.2",
            "eventSource": "ceph:s3",
            "eventName": "ObjectRemoved:Delete",
            "s3": {
                "bucket": {"name": "camera", "arn": "arn:aws:s3:default::camera", "id": "abc"},
                "object": {
                    "key": "day/f 1+é%.jpg",
                    "size": 1,
                    "eTag": "9d",
                    "versionId": "",
                    "metadata": [],
                    "tags": [],
                },
            },
            "eventId": "",
            "opaqueData": "me@example.com",
        }
    ]
}


@pytest.mark.parametrize("event", [MINIO, CEPH], ids=["MinIO and AWS", "Ceph"])
async def test_an_event_has_the_dataset_looked_at(api: CatalogueApi, alice: httpx.AsyncClient, event: Any) -> None:
    path = await create_dataset(alice)
    await alice.put(f"{path}/follow")
    async with api.database.service_transaction() as connection:
        await connection.execute(text("UPDATE follows SET due_at = now() + interval '1 hour'"))
    async with api.client("minio", "events:write") as store:
        answer = await store.post(EVENTS, json=event)
    assert (answer.status_code, answer.json()) == (202, {"records": 1})
    assert await value(api, "SELECT due_at <= now() FROM follows")


@pytest.mark.parametrize(
    "event",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "camera"},
        {"Records": []},
        {"Records": [{"s3": {"bucket": {"name": "nobodys"}, "object": {"key": "day/%00%ff"}}}] * 1000},
    ],
)
async def test_events_that_mean_nothing_are_taken(api: CatalogueApi, alice: httpx.AsyncClient, event: Any) -> None:
    answer = await alice.post(EVENTS, json=event)
    assert (answer.status_code, answer.json()["records"]) == (202, len(event.get("Records", ())))


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        ({}, "#"),
        ({"Records": [{"s3": {"object": {"key": "k"}}}]}, "#/Records/0/s3/bucket"),
        ({"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": 5}}}]}, "#/Records/0/s3/object/key"),
        ({"Records": [{}] * 1001}, "#/Records"),
    ],
)
async def test_other_bodies_are_refused(alice: httpx.AsyncClient, event: Any, pointer: str) -> None:
    answer = await alice.post(EVENTS, json=event)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_the_token_may_be_a_password_there_and_nowhere_else(api: CatalogueApi) -> None:
    """Ceph RGW sends the name and password of its endpoint's address."""
    async with api.client("ceph", "events:write", "catalog:read") as client:
        token = client.headers.pop("Authorization").removeprefix("Bearer ")
        for sent, status in ((("store", token), 202), (("store", "guess"), 401), (("store", ""), 401)):
            answer = await client.post(EVENTS, json=CEPH, auth=sent)
            assert answer.status_code == status, answer.text
        assert (await client.get("/api/experiments", auth=("store", token))).status_code == 401
        for header in ("Basic", "Basic !", "Basic " + "gICA", "basic"):
            answer = await client.post(EVENTS, json=CEPH, headers={"Authorization": header})
            assert answer.status_code == 401, header

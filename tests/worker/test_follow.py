"""Followed datasets: workers keep the catalogue as the store is; events only make them look sooner."""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from service.plan.names.natural_sort import natural_key
from service.plan.render_plan import ObjectRef
from service.store.catalog import datasets, follows
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectInfo, ObjectStore
from service.store.objects.s3 import S3ObjectStore
from service.store.source_rules import parse_sources
from service.worker.follow import UNEXPECTED, Follower
from tests.support.data import media
from tests.support.data.database_rows import add_render
from tests.support.data.dataset_folder import JPEG, DatasetFolder
from tests.support.patience import PATIENCE_S
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database
from tests.support.servers.s3_server import ANY_STORE, s3_server

pytestmark = pytest.mark.anyio
SOURCES = "camera=alice"
SERVER = s3_server()
PAUSE_S = 0.2
# Requests take longer than writing files.
OBJECTS = 120 if ANY_STORE == "s3" else 300
# Pictures of every number, so that each object has its own content.
PICTURES = [media.jpeg(media.numbered_picture(number)) for number in range(40)]


@pytest.fixture
async def lab(postgres_url: str, tmp_path: Path) -> AsyncIterator[DatasetFolder]:
    async with fresh_database(postgres_url) as database:
        lab = DatasetFolder(database, tmp_path)
        await lab.create()
        async with database.service_transaction() as connection:
            await follows.follow(connection, lab.id, "alice")
        yield lab


def follower(lab: DatasetFolder, objects: ObjectStore | None = None, name: str = "worker") -> Follower:
    return Follower(lab.database, objects or lab.objects, parse_sources(SOURCES, "reelmill"), name)


async def run(database: Database, statement: str) -> None:
    async with database.service_transaction() as connection:
        await connection.execute(text(statement))


async def read(database: Database, query: str) -> Any:
    async with database.service_transaction() as connection:
        return (await connection.execute(text(query))).mappings().one()


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.1)


class Camera:
    """Writes objects under the prefix of a dataset, and tells of half of them, in disorder. `now` is what is there."""

    def __init__(self, store: ObjectStore, dataset: DatasetRow, client: httpx.AsyncClient) -> None:
        self.store, self.dataset, self.client = store, dataset, client
        self.chance, self.now, self.events = random.Random(7), dict[str, str](), list[str]()

    async def write(self, number: int) -> None:
        key = f"{self.dataset.prefix}shot {number:04d}.jpg"
        # A comment makes every object another one, also where a store knows contents only.
        data = PICTURES[number % len(PICTURES)] + self.chance.randbytes(8)
        info = await self.store.put(ObjectRef(self.dataset.bucket, key), data, "image/jpeg")
        self.now[key] = info.etag
        self.events.append(key)

    async def remove(self) -> None:
        key = self.chance.choice(sorted(self.now)[20:])
        await self.store.delete(ObjectRef(self.dataset.bucket, key))
        del self.now[key]
        self.events.append(key)

    async def tell(self) -> None:
        """Half of the events since the last time: some twice, in any order, with one of something else."""
        told = [key for key in self.events if self.chance.random() < 0.5]
        told += [key for key in told if self.chance.random() < 0.5]
        self.chance.shuffle(told)
        self.events.clear()
        records = [
            {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}
            for bucket, key in [("elsewhere", "x"), *((self.dataset.bucket, key.replace(" ", "+")) for key in told)]
        ]
        response = await self.client.post("/api/events/s3", json={"Records": records})
        assert response.status_code == 202, response.text


@pytest.fixture
async def api(postgres_url: str, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    store = S3ObjectStore(SERVER.settings()) if ANY_STORE == "s3" else FileObjectStore(tmp_path / "objects", "reelmill")
    async with catalogue_api(postgres_url, tmp_path, store) as api:
        yield api
    if isinstance(store, S3ObjectStore):
        async for page in store.list(store.bucket, ""):
            await asyncio.gather(*(store.delete(ObjectRef(store.bucket, info.key)) for info in page))
        await (await store._client()).delete_bucket(Bucket=store.bucket)
    await store.close()


async def create_followed(api: CatalogueApi, client: httpx.AsyncClient) -> DatasetRow:
    experiment = (await client.post("/api/experiments", json={"name": "run"})).json()["id"]
    created = await client.post(f"/api/experiments/{experiment}/datasets", json={"name": "camera"})
    dataset = created.json()["dataset"]["id"]
    followed = await client.put(f"/api/datasets/{dataset}/follow")
    assert (followed.status_code, followed.json()["followed"]) == (200, True), followed.text
    return await dataset_row(api, dataset)


async def dataset_row(api: CatalogueApi, dataset: UUID | str) -> DatasetRow:
    async with api.database.service_transaction() as connection:
        row = await datasets.get(connection, UUID(str(dataset)))
    assert row is not None
    return row


async def catalogue(api: CatalogueApi) -> list[tuple[str, str]]:
    async with api.database.service_transaction() as connection:
        rows = await connection.execute(text("SELECT key, etag FROM frames ORDER BY index"))
        return [(row.key, row.etag) for row in rows]


async def change_for_a_while(camera: Camera, objects: int) -> None:
    """Objects that come one after the other; of ten, one comes late, one is replaced, and one vanishes."""
    late: list[int] = []
    for number in range(20, 20 + objects):
        if number % 10 == 3:
            late.append(number)
        else:
            await camera.write(number)
        match number % 10:
            case 5:
                await camera.write(camera.chance.randrange(20, number))
            case 7:
                await camera.remove()
            case 9 if late and camera.chance.random() < 0.5:
                await camera.write(late.pop(0))
        if number % 15 == 0:
            await camera.tell()
            await asyncio.sleep(PAUSE_S)
    for number in late:
        await camera.write(number)
    await camera.tell()


async def test_the_catalogue_is_what_the_store_is(api: CatalogueApi, tmp_path: Path) -> None:
    settings = SERVER.settings() if ANY_STORE == "s3" else None
    async with api.client("alice", "admin") as client:
        dataset = await create_followed(api, client)
        camera = Camera(api.objects, dataset, client)
        for number in range(20):
            await camera.write(number)
        async with running_supervisor(api.database, tmp_path, slots=2, objects=settings):

            async def is_right() -> bool:
                order = sorted(camera.now.items(), key=lambda item: (natural_key(item[0]), item[0]))
                return await catalogue(api) == order

            await until(is_right)
            async with api.database.service_transaction() as connection:
                render = await add_render(connection, await dataset_row(api, dataset.id))
            video = await wait_until_ended(api.database, render)
            assert video["status"] == "succeeded", video
            place = ObjectRef(api.objects.bucket, video["video_key"])
            before = hashlib.sha256(await api.objects.get(place)).hexdigest()

            await change_for_a_while(camera, OBJECTS)
            await until(is_right)
            frames = await catalogue(api)
            assert max(Counter(key for key, _ in frames).values()) == 1
            assert hashlib.sha256(await api.objects.get(place)).hexdigest() == before == video["video_sha256"]
        told = (await client.get(f"/api/datasets/{dataset.id}")).json()
    assert (told["frame_count"], told["state"]) == (len(camera.now), "ready")
    counts = told["follow"]
    assert counts["appended"] + counts["late"] - counts["vanished"] == len(camera.now)
    assert counts["replaced"] > 0 and counts["problem"] is None


class CountedStore(FileObjectStore):
    """Counts the listings that are under way; each takes as long as `gate` is closed."""

    def __init__(self, lab: DatasetFolder) -> None:
        super().__init__(lab.objects.root, "reelmill")
        self.gate, self.begun, self.open, self.most = asyncio.Event(), 0, 0, 0

    async def list(self, bucket: str, prefix: str, after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        self.begun, self.open = self.begun + 1, self.open + 1
        self.most = max(self.most, self.open)
        try:
            await self.gate.wait()
            async for page in super().list(bucket, prefix, after):
                yield page
        finally:
            self.open -= 1


async def test_two_workers_never_look_at_the_same_dataset_at_once(lab: DatasetFolder) -> None:
    store = CountedStore(lab)
    followers = [follower(lab, store, name) for name in ("one", "two")]
    for _ in range(3):
        await asyncio.gather(*(each.begin_looks() for each in followers for _ in range(5)))
        await until(lambda: is_begun(store))
        assert (store.begun, store.most) == (1, 1)
        await run(lab.database, "UPDATE follows SET due_at = now()")
    for each in followers:
        await each.stop()


async def is_begun(store: CountedStore) -> bool:
    return store.begun > 0


async def test_the_look_of_a_dead_worker_is_taken_over(lab: DatasetFolder) -> None:
    async with lab.database.service_transaction() as connection:
        (lost,) = await follows.claim(connection, "dead", 1)
    assert not await claims(lab, "alive"), "it may be alive"
    await run(lab.database, "UPDATE follows SET alive_at = now() - interval '7 seconds'")
    (taken,) = await claims(lab, "alive")
    assert await follower(lab).look(lost) == "lost", "what a worker writes that has been asleep has no effect"
    assert await follower(lab).look(taken) == "changed"
    assert (await read(lab.database, "SELECT count(*) AS scans FROM tasks"))["scans"] == 1


async def claims(lab: DatasetFolder, worker: str) -> list[follows.Look]:
    async with lab.database.service_transaction() as connection:
        return await follows.claim(connection, worker, 5)


async def test_no_look_while_a_scan_is_under_way(lab: DatasetFolder) -> None:
    async with lab.database.service_transaction() as connection:
        await datasets.enqueue_scan(connection, lab.id)
    assert not await claims(lab, "worker")


async def test_a_dataset_that_is_not_followed_any_more_is_left_alone(lab: DatasetFolder) -> None:
    (look,) = await claims(lab, "worker")
    await run(lab.database, "DELETE FROM follows")
    assert await follower(lab).look(look) == "lost"
    assert not await claims(lab, "worker")
    assert (await read(lab.database, "SELECT count(*) AS scans FROM tasks"))["scans"] == 0


async def test_a_dataset_that_is_deleted_while_it_is_looked_at(lab: DatasetFolder) -> None:
    store = CountedStore(lab)
    worker = follower(lab, store)
    await worker.begin_looks()
    await until(lambda: is_begun(store))
    await run(lab.database, "DELETE FROM experiments")
    store.gate.set()

    async def has_ended() -> bool:
        return store.open == 0

    await until(has_ended)
    await worker.stop()
    rows = await read(lab.database, "SELECT (SELECT count(*) FROM follows) + (SELECT count(*) FROM tasks) AS rows")
    assert rows["rows"] == 0 and lab.folder.is_dir()


async def test_a_bucket_that_is_away(lab: DatasetFolder, tmp_path: Path) -> None:
    """It is said in the dataset's answer, gaps grow, and nothing vanishes."""
    lab.write_at("f1.jpg", JPEG)
    await lab.scan()
    bucket = tmp_path / "objects" / "camera"
    bucket.rename(bucket.with_name("away"))
    gaps = []
    for _ in range(3):
        await run(lab.database, "UPDATE follows SET due_at = now()")
        (look,) = await claims(lab, "worker")
        assert await follower(lab).look(look) == "failed"
        query = "SELECT problem, round(extract(epoch FROM due_at - now())) AS gap FROM follows"
        row = await read(lab.database, query)
        gaps.append(int(row["gap"]))
        assert "there is no bucket camera" in row["problem"]
    assert gaps == sorted(gaps) and gaps[2] > 2 * gaps[0], gaps
    assert await lab.keys() == ["f1.jpg"]

    bucket.with_name("away").rename(bucket)
    await run(lab.database, "UPDATE follows SET due_at = now()")
    (look,) = await claims(lab, "worker")
    assert await follower(lab).look(look) == "unchanged"
    assert (await read(lab.database, "SELECT problem, failures FROM follows")) == {"problem": None, "failures": 0}


class FaultyStore(FileObjectStore):
    """Fails as no store should."""

    async def list(self, bucket: str, prefix: str, after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        raise RuntimeError("no error of a store")
        yield []


async def test_a_fault_in_a_look_is_told_and_waited_after(lab: DatasetFolder) -> None:
    (look,) = await claims(lab, "worker")
    assert await follower(lab, FaultyStore(lab.objects.root, "reelmill")).look(look) == "failed"
    row = await read(lab.database, "SELECT problem, failures, due_at > now() AS later FROM follows")
    assert (row["problem"], row["failures"], row["later"]) == (UNEXPECTED, 1, True)


async def test_a_source_that_may_not_be_read_any_more(lab: DatasetFolder) -> None:
    (look,) = await claims(lab, "worker")
    assert await Follower(lab.database, lab.objects, parse_sources("", "reelmill"), "worker").look(look) == "failed"
    assert "MINIO_SOURCES" in (await read(lab.database, "SELECT problem FROM follows"))["problem"]


async def test_where_everything_takes_long_to_list_the_end_is_listed_in_between(lab: DatasetFolder) -> None:
    for number in (1, 2):
        lab.write_at(f"f{number}.jpg", JPEG)
    await lab.scan()
    await run(
        lab.database,
        """UPDATE follows SET whole_at = now() + interval '1 hour', due_at = now(),
            listing = jsonb_set(listing, '{objects}', '5000')""",
    )
    lab.write_at("f0.jpg", JPEG)
    (look,) = await claims(lab, "worker")
    assert not look.whole
    assert await follower(lab).look(look) == "unchanged", "what is not behind the last key waits for a whole listing"
    await run(lab.database, "UPDATE follows SET due_at = now()")
    lab.write_at("f3.jpg", JPEG)
    (look,) = await claims(lab, "worker")
    assert await follower(lab).look(look) == "changed"
    payload = (await read(lab.database, "SELECT payload FROM tasks"))["payload"]
    assert payload == {"known": True, "after": "day/f2.jpg"}


async def hint(lab: DatasetFolder, *places: tuple[str, str]) -> int:
    async with lab.database.service_transaction() as connection:
        return await follows.hint(connection, places)


async def test_events_that_concern_the_same_datasets_wait_for_each_other(lab: DatasetFolder) -> None:
    """They lock the datasets in one order: else two of them could wait for each other, and one would fail."""
    columns = "name || n, kind, bucket, prefix, experiment_id FROM datasets, generate_series(1, 800) AS n"
    await run(
        lab.database,
        f"INSERT INTO datasets (id, name, kind, bucket, prefix, experiment_id) SELECT gen_random_uuid(), {columns}",
    )
    await run(lab.database, "INSERT INTO follows (dataset_id) SELECT id FROM datasets ON CONFLICT DO NOTHING")
    await run(lab.database, "ANALYZE")
    waits = "SELECT count(*) AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    free = "SELECT count(*) AS count FROM (SELECT FROM follows FOR UPDATE SKIP LOCKED) AS free"

    async def is_waiting() -> bool:
        return bool((await read(lab.database, waits))["count"])

    async with lab.database.service_transaction() as connection:
        await connection.execute(text("SELECT FROM follows ORDER BY dataset_id LIMIT 1 FOR UPDATE"))
        hinting = asyncio.create_task(hint(lab, ("camera", "day/f1.jpg")))
        await until(is_waiting)
        assert (await read(lab.database, free))["count"] == 800
    assert await hinting == 801


async def test_hints(lab: DatasetFolder) -> None:
    """They bring the next look forward, a whole one if something was there before, and one at a time."""
    lab.write_at("f1.jpg", JPEG)
    await lab.scan()
    later = "UPDATE follows SET hinted = false, whole_at = now() + interval '50 s', listing_s = 10, due_at = now() + interval '1 h'"
    due = "SELECT due_at <= now() AS due, whole_at <= now() + interval '10 s' AS whole FROM follows"
    await run(lab.database, later)
    assert await hint(lab, ("camera", "night/f1.jpg"), ("other", "day/f1.jpg")) == 0
    assert await read(lab.database, due) == {"due": False, "whole": False}
    assert await hint(lab, ("camera", "day/f2.jpg"), ("camera", "day/f3.jpg")) == 1
    assert await hint(lab, ("camera", "day/f2.jpg")) == 0, "it is to be looked at already"
    assert await read(lab.database, due) == {"due": True, "whole": False}
    await run(lab.database, later)
    assert await hint(lab, ("camera", "day/f2.jpg"), ("camera", "day/f0.jpg")) == 1
    assert await read(lab.database, due) == {"due": True, "whole": True}
    await run(lab.database, f"{later}, failures = 2")
    assert await hint(lab, ("camera", "day/f2.jpg")) == 0, "after failures, gaps grow"

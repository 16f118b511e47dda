"""Both drivers of the object store; S3 when REELMILL_TEST_S3_ENDPOINT is set."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.plan.render_plan import ObjectRef
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectInfo, ObjectStore
from service.store.objects.s3 import S3ObjectStore
from tests.support.servers.s3_server import needs_s3, s3_server

SERVER = s3_server()
ENDPOINT, BUCKET = SERVER.endpoint, SERVER.bucket


@pytest.fixture(params=["folder", pytest.param("s3", marks=needs_s3)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    store = (
        FileObjectStore(tmp_path / "objects", BUCKET) if request.param == "folder" else S3ObjectStore(SERVER.settings())
    )
    await store.check()
    yield store
    await store.close()


@pytest.fixture
async def s3() -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(SERVER.settings())
    await store.check()
    yield store
    await store.close()


@pytest.fixture
def folder(tmp_path: Path) -> FileObjectStore:
    return FileObjectStore(tmp_path / "objects", BUCKET)


@pytest.fixture
def top() -> str:
    """A prefix of the test's own: the bucket on the server is shared."""
    return f"{secrets.token_hex(6)}/"


@pytest.fixture(scope="module", autouse=True)
def no_bucket_left() -> Iterator[None]:
    yield
    if ENDPOINT:
        asyncio.run(_remove_bucket())


async def _remove_bucket() -> None:
    store = S3ObjectStore(SERVER.settings())
    await store.check()
    for info in await list_objects(store, ""):
        await store.delete(ObjectRef(BUCKET, info.key))
    await (await store._client()).delete_bucket(Bucket=BUCKET)
    await store.close()


async def list_objects(store: ObjectStore, prefix: str) -> list[ObjectInfo]:
    return [info async for page in store.list(store.bucket, prefix) for info in page]

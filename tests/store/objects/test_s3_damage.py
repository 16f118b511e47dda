"""Reads of the S3 driver under an ETag, from a server whose answers are damaged on their way."""

import os
from collections.abc import AsyncIterator

import pytest

from service.plan.render_plan import ObjectRef
from service.store.objects.object_store import ObjectChanged, ObjectDamaged, ObjectNotFound, ObjectStoreError
from service.store.objects.s3 import S3ObjectStore
from tests.support.servers.object_server import DAMAGES, FaultyObjectServer
from tests.support.servers.stored_frames import object_settings

SIZE, REF = 50_000, ObjectRef("bucket", "x")
# Whole, all of it as a range, its beginning, a part, its end.
ALL, PARTS = [(0, None), (0, 2 * SIZE)], [(0, 1000), (1000, 3000), (SIZE - 1000, None)]
FAULTS = [*DAMAGES, "412", "416", "500", "truncated"]
# A part that is flipped has no digest of its own.
CASES = [(fault, *span) for fault in FAULTS for span in ALL + PARTS if fault != "flipped" or span in ALL]
# 200 for a part that is not the beginning: told at once.
NO_RANGES = [case for case in CASES if case[0] == "other status" and case[1]]
pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[FaultyObjectServer]:
    server = FaultyObjectServer()
    yield server
    server.stop()


@pytest.fixture
async def store(server: FaultyObjectServer) -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(object_settings(server.address))
    yield store
    await store.close()


@pytest.mark.parametrize(("fault", "start", "stop"), CASES)
async def test_one_damaged_answer_is_not_believed(
    server: FaultyObjectServer, store: S3ObjectStore, fault: str, start: int, stop: int | None
) -> None:
    data = os.urandom(SIZE)
    etag, server.faults = server.put("x", data), {"x": [fault]}
    if (fault, start, stop) in NO_RANGES:
        with pytest.raises(ObjectStoreError, match="does not serve ranges"):
            await store.get(REF, start, stop, etag)
    assert await store.get(REF, start, stop, etag) == data[start:stop]


async def test_lasting_damage_has_a_name(server: FaultyObjectServer, store: S3ObjectStore) -> None:
    etag = server.put("x", os.urandom(SIZE))
    await store.get(REF, etag=etag)
    for fault, error in (("flipped", ObjectDamaged), ("416", ObjectChanged), ("of another", ObjectChanged)):
        server.faults = {"x": [fault] * 20}
        with pytest.raises(error):
            await store.get(REF, 0, 2 * SIZE, etag)
    with pytest.raises(ObjectNotFound):
        await store.get(ObjectRef("bucket", "gone"), etag=etag)


async def test_what_does_not_exist_is_empty(server: FaultyObjectServer, store: S3ObjectStore) -> None:
    etag, empty = server.put("x", b"0123"), server.put("empty", b"")
    assert await store.get(REF, 4, 9, etag) == await store.get(REF, 2, 2, etag) == b""
    assert await store.get(ObjectRef("bucket", "empty"), 0, 9, empty) == b""


async def test_a_closed_store_reads_again(server: FaultyObjectServer, store: S3ObjectStore) -> None:
    etag = server.put("x", b"0123")
    for _ in range(2):
        assert await store.get(REF, etag=etag) == b"0123"
        await store.close()

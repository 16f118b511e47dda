"""Objects that were written are compared with their digests, and no reader gets all bytes of a damaged one."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.plan.render_plan import ObjectRef
from service.store.objects.digests import (
    ObjectLost,
    WrittenObject,
    check_object,
    read_checked,
    sha256_hex,
    stream_checked,
)
from service.store.objects.files import FileObjectStore
from service.store.objects.s3 import S3ObjectStore
from tests.support.servers.object_server import DAMAGES, FaultyObjectServer
from tests.support.servers.stored_frames import object_settings

pytestmark = pytest.mark.anyio
FAULTS = (*DAMAGES, "416", "truncated")
# The bytes of the object are right, or the driver reads until they are.
HARMLESS = ("no etag", "other range", "no range", "other status", "truncated")


@pytest.fixture
async def faulty_store() -> AsyncIterator[tuple[FaultyObjectServer, S3ObjectStore]]:
    server = FaultyObjectServer()
    store = S3ObjectStore(object_settings(server.address))
    yield server, store
    await store.close()
    server.stop()


async def test_an_object_that_is_damaged_on_the_way_is_read_again(
    faulty_store: tuple[FaultyObjectServer, S3ObjectStore],
) -> None:
    server, store = faulty_store
    for fault in FAULTS:
        data = os.urandom(50_000)
        server.put(fault, data)
        written = WrittenObject(fault, sha256_hex(data))
        server.faults[fault] = [fault]
        assert await read_checked(store, written) == data, fault
        if fault != "truncated":  # a broken connection is no damage: who streams it asks again
            server.faults[fault] = [fault]
            await check_object(store, written)
        assert server.request_counts[fault] <= 4


async def test_lasting_damage_has_a_name(faulty_store: tuple[FaultyObjectServer, S3ObjectStore]) -> None:
    server, store = faulty_store
    for fault in sorted(set(FAULTS).difference(HARMLESS)):
        data = os.urandom(50_000)
        server.put(fault, data)
        server.faults[fault] = [fault] * 4
        for check in (read_checked, check_object):
            with pytest.raises(ObjectLost):
                await check(store, WrittenObject(fault, sha256_hex(data)))
        assert server.request_counts[fault] == 4


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (3 << 20) + 5])
async def test_a_damaged_object_is_never_sent_whole(tmp_path: Path, size: int) -> None:
    store, data = FileObjectStore(tmp_path, "bucket"), os.urandom(size)
    await store.put(ObjectRef("bucket", "key"), data, "video/mp4")
    right = WrittenObject("key", sha256_hex(data))
    assert b"".join([chunk async for chunk in stream_checked(store, right)]) == data
    await check_object(store, right)
    sent = b""
    with pytest.raises(ObjectLost):
        async for chunk in stream_checked(store, WrittenObject("key", sha256_hex(data + b"more"))):
            sent += chunk
    assert data.startswith(sent) and len(sent) <= max(size - 1, 0)


async def test_without_a_digest_all_is_sent(tmp_path: Path) -> None:
    store = FileObjectStore(tmp_path, "bucket")
    await store.put(ObjectRef("bucket", "key"), b"written before", "video/mp4")
    assert [chunk async for chunk in stream_checked(store, WrittenObject("key"))] == [b"written before"]

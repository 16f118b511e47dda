"""Objects that were written are compared with their digests, and no reader gets all bytes of a damaged one."""

import os
from pathlib import Path

import pytest

from service.plan.render_plan import ObjectRef
from service.store.objects.digests import ObjectLost, WrittenObject, check_object, sha256_hex, stream_checked
from service.store.objects.files import FileObjectStore

pytestmark = pytest.mark.anyio


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

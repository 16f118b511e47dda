"""The contract that every driver of the object store keeps."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from service.plan.render_plan import ObjectRef
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectNotFound, ObjectStore
from service.store.objects.s3 import PART_BYTES
from tests.store.objects.conftest import BUCKET, list_objects

MIB = 1024 * 1024
pytestmark = pytest.mark.anyio


async def test_what_was_put_is_there_whole(store: ObjectStore, top: str) -> None:
    ref = ObjectRef(BUCKET, f"{top}a b/Übung+%41&=?#~'.jpg")
    put = await store.put(ref, b"picture", "image/jpeg")
    assert await store.get(ref) == b"picture"
    assert await store.head(ref) == put
    assert (put.key, put.size, put.content_type) == (ref.key, 7, "image/jpeg")
    assert abs(put.modified.timestamp() - time.time()) < 60
    assert [(entry.key, entry.size, entry.etag) for entry in await list_objects(store, top)] == [(ref.key, 7, put.etag)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("v.mp4", "video/mp4"),
        ("r.ndjson", "application/x-ndjson"),
        ("p.m3u8", "application/vnd.apple.mpegurl"),
        ("p.JPG", "image/jpeg"),
        ("plain", "application/octet-stream"),
    ],
)
async def test_content_type_is_told(store: ObjectStore, top: str, name: str, kind: str) -> None:
    await store.put(ObjectRef(BUCKET, top + name), b"x", kind)
    assert (await store.head(ObjectRef(BUCKET, top + name))).content_type == kind


@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (3, None), (0, 4), (2, 5), (8, 99), (10, None), (50, None), (50, 60), (4, 4), (5, 2)]
)
async def test_ranges_are_cut_to_the_object(store: ObjectStore, top: str, start: int, stop: int | None) -> None:
    ref = ObjectRef(BUCKET, f"{top}x")
    await store.put(ref, b"0123456789", "text/plain")
    assert await store.get(ref, start, stop) == b"0123456789"[start:stop]
    assert b"".join([chunk async for chunk in store.stream(ref, start, stop)]) == b"0123456789"[start:stop]


async def test_an_empty_object(store: ObjectStore, top: str) -> None:
    ref = ObjectRef(BUCKET, f"{top}empty")
    await store.put(ref, b"", "text/plain")
    assert (await store.get(ref), await store.get(ref, 0, 10), (await store.head(ref)).size) == (b"", b"", 0)


async def test_stream_comes_in_small_chunks(store: ObjectStore, top: str) -> None:
    ref, data = ObjectRef(BUCKET, f"{top}big.bin"), os.urandom(5 * MIB // 2 + 1)
    await store.put(ref, data, "application/octet-stream")
    chunks = [chunk async for chunk in store.stream(ref)]
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= MIB
    assert b"".join([chunk async for chunk in store.stream(ref, 7, 2 * MIB)]) == data[7 : 2 * MIB]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 5])
async def test_a_file_of_any_size(store: ObjectStore, top: str, tmp_path: Path, size: int) -> None:
    path, ref, data = tmp_path / "source", ObjectRef(BUCKET, f"{top}video.mp4"), os.urandom(size)
    path.write_bytes(data)
    put = await store.put_file(ref, path, "video/mp4")
    assert (put.size, put.content_type) == (size, "video/mp4")
    assert await store.get(ref) == data


async def test_what_is_not_there_is_missing(store: ObjectStore, top: str) -> None:
    for ref in (ObjectRef(BUCKET, f"{top}nothing"), ObjectRef(f"{BUCKET}-other", "nothing")):
        for asking in (store.get(ref), store.head(ref), anext(store.stream(ref)), store.get(ref, 0, 5)):
            with pytest.raises(ObjectNotFound):
                await asking
    with pytest.raises(ObjectNotFound):
        await anext(store.list(f"{BUCKET}-other", ""))


async def test_deleting_twice_is_no_error(store: ObjectStore, top: str) -> None:
    ref = ObjectRef(BUCKET, f"{top}a/b")
    await store.put(ref, b"x", "text/plain")
    await store.delete(ref)
    await store.delete(ref)
    await store.delete(ObjectRef(BUCKET, f"{top}a"))
    await store.delete(ObjectRef(BUCKET, f"{top}never/was"))
    assert await list_objects(store, top) == []


TRAPS = ["a-b", "a/b", "a.b", "a0", "a/a-b", "a/a/b", "a!b", "ab", "Z", "é", "z", "a/é", "\U0001f600", "\uffee"]


async def test_listing_is_in_the_order_of_utf8_keys(store: ObjectStore, top: str) -> None:
    await asyncio.gather(*(store.put(ObjectRef(BUCKET, top + name), b"x", "text/plain") for name in TRAPS))
    assert [info.key for info in await list_objects(store, top)] == sorted(
        (top + name for name in TRAPS), key=str.encode
    )
    for prefix in ("a", "a/", "a/a", "a-", "é", "nothing", "a//", "/", "../", "a\0", "./a"):
        wanted = sorted((top + name for name in TRAPS if name.startswith(prefix)), key=str.encode)
        if "\0" not in prefix or isinstance(store, FileObjectStore):
            assert [info.key for info in await list_objects(store, top + prefix)] == wanted


async def test_listing_comes_in_pages(store: ObjectStore, top: str) -> None:
    gate = asyncio.Semaphore(16)

    async def put(number: int) -> None:
        async with gate:
            await store.put(ObjectRef(BUCKET, f"{top}{number:05}"), b"", "text/plain")

    await asyncio.gather(*(put(number) for number in range(1005)))
    pages = [page async for page in store.list(BUCKET, top)]
    assert [len(page) for page in pages] == [1000, 5]
    assert [info.key for page in pages for info in page] == [f"{top}{number:05}" for number in range(1005)]


async def test_a_listing_goes_on_behind_a_key(store: ObjectStore, top: str) -> None:
    """Whether the key is there or not. A folder sorts with its slash: behind `a-b`, before `a0`."""
    keys = [f"{top}{name}" for name in ("a-b", "a/1", "a/2", "a/b/3", "a0", "ab", "é/x")]
    for key in keys:
        await store.put(ObjectRef(BUCKET, key), b"", "text/plain")
    for after in (*keys, f"{top}a", f"{top}a/", f"{top}a/b/", f"{top}a/zz", f"{top}zz"):
        listed = [info.key async for page in store.list(BUCKET, top, after) for info in page]
        assert listed == [key for key in keys if key > after], after


async def test_etag_changes_with_the_content(store: ObjectStore, top: str) -> None:
    ref = ObjectRef(BUCKET, f"{top}x")
    etags = [(await store.put(ref, b"%03d" % number, "text/plain")).etag for number in range(40)]
    assert len(set(etags)) == 40


async def test_readers_see_one_version_or_another(store: ObjectStore, top: str) -> None:
    ref, versions = ObjectRef(BUCKET, f"{top}x"), [bytes([number]) * 300_000 for number in range(8)]
    await store.put(ref, versions[0], "text/plain")
    writing = asyncio.gather(*(store.put(ref, version, "text/plain") for version in versions))
    while not writing.done():
        assert await store.get(ref) in versions
    await writing


async def test_check_can_be_repeated(store: ObjectStore) -> None:
    await asyncio.gather(store.check(), store.check())
    await store.check()

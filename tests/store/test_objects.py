"""One contract for both drivers of the object store; the S3 one runs against a real server."""

import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from service.pipeline.frames import FrameMissing
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.object_settings import ObjectSettings, open_store
from service.store.objects import ObjectInfo, ObjectMissing, ObjectStore, ObjectStoreError
from service.store.objects_files import FileObjectStore
from service.worker.frame_fetch import FrameFetcher

pytestmark = pytest.mark.anyio


def s3_settings() -> ObjectSettings:
    """A bucket of its own on the test server."""
    return ObjectSettings.model_construct(
        endpoint=os.environ["REELMILL_TEST_S3_ENDPOINT"],
        access_key=os.environ["MINIO_ACCESS_KEY"],
        secret_key=SecretStr(os.environ["MINIO_SECRET_KEY"]),
        bucket=f"test-{secrets.token_hex(6)}",
    )


@pytest.fixture(params=["files", "s3"])
def settings(request: pytest.FixtureRequest) -> ObjectSettings:
    if request.param == "files":
        return ObjectSettings.model_construct()
    if "REELMILL_TEST_S3_ENDPOINT" not in os.environ:
        pytest.skip("REELMILL_TEST_S3_ENDPOINT is not set: no S3 server to test against")
    return s3_settings()


@pytest.fixture
async def store(settings: ObjectSettings, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    store = open_store(settings, tmp_path)
    await store.check()
    yield store
    await store.close()


async def listed(store: ObjectStore, prefix: str) -> list[ObjectInfo]:
    return [entry async for page in store.list(store.bucket, prefix) for entry in page]


async def test_what_is_put_can_be_read_whole_and_in_part(store: ObjectStore) -> None:
    ref = ObjectRef(store.bucket, "a/b c+ü%20.jpg")
    put = await store.put(ref, bytes(range(256)) * 10, "image/jpeg")
    assert (put.size, put.content_type) == (2560, "image/jpeg")
    assert await store.get(ref) == bytes(range(256)) * 10
    assert await store.get(ref, 10, 20) == bytes(range(10, 20))
    assert await store.get(ref, 2550, 9999) == bytes(range(246, 256))
    assert await store.get(ref, 2550) == bytes(range(246, 256))
    assert (await store.head(ref)).etag == put.etag


async def test_a_new_content_has_a_new_etag(store: ObjectStore) -> None:
    ref = ObjectRef(store.bucket, "x.bin")
    first = await store.put(ref, b"one", "application/octet-stream")
    assert (await store.put(ref, b"two", "application/octet-stream")).etag != first.etag


async def test_what_is_not_there_is_missing(store: ObjectStore) -> None:
    ref = ObjectRef(store.bucket, "no/such.jpg")
    for call in (store.get(ref), store.head(ref)):
        with pytest.raises(ObjectMissing):
            await call
    with pytest.raises(ObjectMissing):
        _ = [chunk async for chunk in store.stream(ref)]
    await store.delete(ref)


async def test_a_large_file_is_published_whole(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(1024) * 1024 * 20)
    ref = ObjectRef(store.bucket, "large.bin")
    assert (await store.put_file(ref, path, "video/mp4")).size == path.stat().st_size
    chunks = [chunk async for chunk in store.stream(ref)]
    assert b"".join(chunks) == path.read_bytes()
    assert max(map(len, chunks)) <= 1024 * 1024


async def test_listing_is_paged_and_in_key_order(store: ObjectStore) -> None:
    keys = [f"p/{number:04d}.jpg" for number in range(1005)] + ["p/a-b", "p/a/b", "p/a0", "q/x"]
    for key in keys:
        await store.put(ObjectRef(store.bucket, key), b"x", "image/jpeg")
    pages = [page async for page in store.list(store.bucket, "p/")]
    found = [entry.key for page in pages for entry in page]
    assert found == sorted(key for key in keys if key.startswith("p/"))
    assert max(map(len, pages)) <= 1000
    assert [entry.key for entry in await listed(store, "p/a")] == ["p/a-b", "p/a/b", "p/a0"]
    assert await listed(store, "nothing/") == []


async def test_presigned_urls_where_there_are_any(store: ObjectStore) -> None:
    ref = ObjectRef(store.bucket, "x.txt")
    await store.put(ref, b"hello", "text/plain")
    url = await store.presign_get(ref, 60)
    if isinstance(store, FileObjectStore):
        assert url is None
    else:
        import httpx

        assert url is not None and httpx.get(url, trust_env=False).content == b"hello"


async def test_frames_are_read_ahead_in_order(store: ObjectStore, settings: ObjectSettings, tmp_path: Path) -> None:
    refs = []
    for number in range(40):
        data = bytes([number]) * 1000
        info = await store.put(ObjectRef(store.bucket, f"f/{number}.jpg"), data, "image/jpeg")
        refs.append(FrameRef(number, info.key, info.etag, info.size))
    refs.insert(20, FrameRef(99, "f/gone.jpg", "x", 1000))
    fetcher = FrameFetcher(settings, tmp_path)
    try:
        with fetcher.prefetch(store.bucket, refs, 5000) as reader:
            for ref in refs:
                if ref.index == 99:
                    with pytest.raises(FrameMissing):
                        reader.read(ref)
                else:
                    assert reader.read(ref) == bytes([ref.index]) * 1000
        assert (fetcher.objects, fetcher.bytes) == (40, 40_000)
        file = fetcher.sources(store.bucket).open(refs[3])
        file.seek(990)
        assert file.read() == bytes([3]) * 10
    finally:
        fetcher.close()


@pytest.mark.skipif("REELMILL_TEST_S3_ENDPOINT" not in os.environ, reason="REELMILL_TEST_S3_ENDPOINT is not set")
async def test_wrong_credentials_name_the_variables(tmp_path: Path) -> None:
    settings = s3_settings().model_copy(update={"secret_key": SecretStr("wrong-secret-value")})
    store = open_store(settings, tmp_path)
    with pytest.raises(ObjectStoreError, match="MINIO_SECRET_KEY") as caught:
        await store.check()
    assert "wrong-secret-value" not in str(caught.value)
    await store.close()


@given(st.text(alphabet="ab./\\\0é", max_size=12))
def test_no_key_leaves_the_bucket(key: str) -> None:
    root = Path("/srv/objects")
    try:
        path = FileObjectStore(root, "own").path(ObjectRef("own", key))
    except ObjectStoreError:
        return
    assert path.is_relative_to(root / "own") and path != root / "own"
    assert ".." not in path.parts


async def test_a_full_disk_leaves_no_half_object(tmp_path: Path) -> None:
    """A real full disk: a tmpfs of 1 MiB, where the kernel lets us mount one."""
    import subprocess

    root = tmp_path / "objects"
    root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(root)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here (not root)")
    try:
        store = FileObjectStore(root, "own")
        await store.check()
        with pytest.raises(ObjectStoreError, match="no space left"):
            await store.put(ObjectRef("own", "big.bin"), bytes(2 * 1024 * 1024), "video/mp4")
        assert await listed(store, "") == []
        assert [path for path in root.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(root)], check=True)

"""One contract over both drivers of the object store (S3 when REELMILL_TEST_S3_ENDPOINT is set), then what is
theirs.
"""

import asyncio
import os
import secrets
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.errors import StartupError
from service.plan.render_plan import ObjectRef
from service.store.objects.drivers import open_object_store
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectInfo, ObjectNotFound, ObjectStore, ObjectStoreError
from service.store.objects.s3 import PART_BYTES, S3ObjectStore
from service.store.settings import ObjectSettings
from tests.support.servers.s3_server import needs_s3, s3_server

MIB = 1024 * 1024
SERVER = s3_server()
ENDPOINT, BUCKET = SERVER.endpoint, SERVER.bucket
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["folder", pytest.param("s3", marks=needs_s3)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = (
        FileObjectStore(tmp_path / "objects", BUCKET) if request.param == "folder" else S3ObjectStore(SERVER.settings())
    )
    await made.check()
    yield made
    await made.close()


@pytest.fixture
async def s3() -> AsyncIterator[S3ObjectStore]:
    made = S3ObjectStore(SERVER.settings())
    await made.check()
    yield made
    await made.close()


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
    for info in await listed(store, ""):
        await store.delete(ObjectRef(BUCKET, info.key))
    await (await store._client()).delete_bucket(Bucket=BUCKET)
    await store.close()


async def listed(store: ObjectStore, prefix: str) -> list[ObjectInfo]:
    return [info async for page in store.list(store.bucket, prefix) for info in page]


async def test_what_was_put_is_there_whole(store: ObjectStore, top: str) -> None:
    ref = ObjectRef(BUCKET, f"{top}a b/Übung+%41&=?#~'.jpg")
    put = await store.put(ref, b"picture", "image/jpeg")
    assert await store.get(ref) == b"picture"
    assert await store.head(ref) == put
    assert (put.key, put.size, put.content_type) == (ref.key, 7, "image/jpeg")
    assert abs(put.modified.timestamp() - time.time()) < 60
    assert [(entry.key, entry.size, entry.etag) for entry in await listed(store, top)] == [(ref.key, 7, put.etag)]


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
    assert await listed(store, top) == []


TRAPS = ["a-b", "a/b", "a.b", "a0", "a/a-b", "a/a/b", "a!b", "ab", "Z", "é", "z", "a/é", "\U0001f600", "\uffee"]


async def test_listing_is_in_the_order_of_utf8_keys(store: ObjectStore, top: str) -> None:
    await asyncio.gather(*(store.put(ObjectRef(BUCKET, top + name), b"x", "text/plain") for name in TRAPS))
    assert [info.key for info in await listed(store, top)] == sorted((top + name for name in TRAPS), key=str.encode)
    for prefix in ("a", "a/", "a/a", "a-", "é", "nothing", "a//", "/", "../", "a\0", "./a"):
        wanted = sorted((top + name for name in TRAPS if name.startswith(prefix)), key=str.encode)
        if "\0" not in prefix or isinstance(store, FileObjectStore):
            assert [info.key for info in await listed(store, top + prefix)] == wanted


async def test_listing_comes_in_pages(store: ObjectStore, top: str) -> None:
    gate = asyncio.Semaphore(16)

    async def put(number: int) -> None:
        async with gate:
            await store.put(ObjectRef(BUCKET, f"{top}{number:05}"), b"", "text/plain")

    await asyncio.gather(*(put(number) for number in range(1005)))
    pages = [page async for page in store.list(BUCKET, top)]
    assert [len(page) for page in pages] == [1000, 5]
    assert [info.key for page in pages for info in page] == [f"{top}{number:05}" for number in range(1005)]


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


# the folder driver


def escapes() -> st.SearchStrategy[str]:
    part = st.sampled_from(["..", ".", "", "a", "etc", "\0", "a\0b", "...", "..a", "\\", "..\\..", "é", "\ud800"])
    return st.lists(part, min_size=1, max_size=6).map("/".join) | st.text(max_size=20).map(lambda text: f"../{text}")


@given(key=escapes() | st.text(max_size=40), bucket=st.sampled_from(["b", "..", ".", "", ".tmp", "b/../..", "/etc"]))
def test_no_key_leads_out_of_its_bucket(key: str, bucket: str) -> None:
    store = FileObjectStore(Path("/home/objects"), "b")
    try:
        place = store.path(ObjectRef(bucket, key))
    except ObjectStoreError:
        return
    assert bucket == "b"
    assert os.path.normpath(place) == str(place)
    assert str(place) == f"/home/objects/b/{key}"


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=4)
KEYS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map("/".join)


@settings(deadline=None, max_examples=60)
@given(keys=st.sets(KEYS, max_size=12), prefix=KEYS)
def test_listing_order_of_any_keys(tmp_path_factory: pytest.TempPathFactory, keys: set[str], prefix: str) -> None:
    root = tmp_path_factory.mktemp("objects")
    kept = [key for key in keys if not any(other != key and other.startswith(f"{key}/") for other in keys)]
    for key in kept:
        (root / "b" / key).parent.mkdir(parents=True, exist_ok=True)
        (root / "b" / key).touch()
    (root / "b").mkdir(exist_ok=True)
    store = FileObjectStore(root, "b")
    for wanted in ("", prefix, prefix[:2]):
        found = [info.key for info in asyncio.run(listed(store, wanted))]
        assert found == sorted((key for key in kept if key.startswith(wanted)), key=str.encode)


async def test_links_are_neither_listed_nor_followed(folder: FileObjectStore, tmp_path: Path) -> None:
    await folder.put(ObjectRef(BUCKET, "a/x"), b"x", "text/plain")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    bucket = tmp_path / "objects" / BUCKET
    (bucket / "out").symlink_to(tmp_path / "secret")
    (bucket / "leaf").symlink_to(tmp_path / "secret" / "key")
    (bucket / "a" / "loop").symlink_to(bucket)
    assert [info.key for info in await listed(folder, "")] == ["a/x"]
    for key in ("out/key", "leaf", "a/loop/a/x"):
        for asking in (folder.get(ObjectRef(BUCKET, key)), folder.head(ObjectRef(BUCKET, key))):
            with pytest.raises(ObjectStoreError):
                await asking
    with pytest.raises(ObjectStoreError):
        await folder.put(ObjectRef(BUCKET, "out/key"), b"mine", "text/plain")
    await folder.put(ObjectRef(BUCKET, "leaf"), b"mine", "text/plain")
    assert (tmp_path / "secret" / "key").read_bytes() == b"secret"


async def test_what_is_no_object_is_not_listed(folder: FileObjectStore, tmp_path: Path) -> None:
    await folder.put(ObjectRef(BUCKET, "x"), b"x", "text/plain")
    bucket = tmp_path / "objects" / BUCKET
    os.mkfifo(bucket / "pipe")
    (bucket / "empty").mkdir()
    Path(os.fsdecode(os.fsencode(bucket) + b"/\xff.jpg")).touch()
    assert [info.key for info in await listed(folder, "")] == ["x"]
    for key in ("pipe", "empty"):
        with pytest.raises(ObjectNotFound):
            await asyncio.wait_for(folder.get(ObjectRef(BUCKET, key)), 5)


async def test_names_that_no_file_can_have(folder: FileObjectStore) -> None:
    await folder.put(ObjectRef(BUCKET, "é" * 127 + "/x"), b"x", "text/plain")
    for key in ("é" * 128, "/".join(["y" * 200] * 6)):
        with pytest.raises(ObjectStoreError, match="longer than"):
            await folder.put(ObjectRef(BUCKET, key), b"x", "text/plain")


async def test_an_object_below_another_is_refused(folder: FileObjectStore) -> None:
    await folder.put(ObjectRef(BUCKET, "a"), b"x", "text/plain")
    await folder.put(ObjectRef(BUCKET, "b/c"), b"x", "text/plain")
    for key in ("a/b", "b", "a/b/c"):
        with pytest.raises(ObjectStoreError, match="below another"):
            await folder.put(ObjectRef(BUCKET, key), b"y", "text/plain")
    assert [info.key for info in await listed(folder, "")] == ["a", "b/c"]
    assert list((folder.root / ".tmp").iterdir()) == []


async def test_a_deep_tree(folder: FileObjectStore) -> None:
    key = "/".join(["d"] * 500)
    await folder.put(ObjectRef(BUCKET, key), b"x", "text/plain")
    assert [info.key for info in await listed(folder, "d/d")] == [key]


async def test_drafts_of_the_dead_are_swept(folder: FileObjectStore) -> None:
    await folder.check()
    old, fresh = folder.root / ".tmp" / "old", folder.root / ".tmp" / "fresh"
    old.touch()
    fresh.touch()
    os.utime(old, (0, 0))
    await folder.check()
    assert [path.name for path in (folder.root / ".tmp").iterdir()] == ["fresh"]


async def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "objects").touch()
    with pytest.raises(ObjectStoreError, match="REELMILL_HOME"):
        await FileObjectStore(tmp_path / "objects", BUCKET).check()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_a_full_disk_keeps_what_was_there(small_disk: Path, tmp_path: Path) -> None:
    store, ref = FileObjectStore(small_disk, BUCKET), ObjectRef(BUCKET, "x")
    await store.put(ref, b"before", "text/plain")
    (tmp_path / "large").write_bytes(bytes(2 * MIB))
    for filling in (
        store.put(ref, bytes(2 * MIB), "text/plain"),
        store.put_file(ref, tmp_path / "large", "text/plain"),
    ):
        with pytest.raises(ObjectStoreError, match="no space left"):
            await filling
    assert await store.get(ref) == b"before"
    assert [info.key for info in await listed(store, "")] == ["x"]
    assert list((small_disk / ".tmp").iterdir()) == []
    assert (await store.put(ref, bytes(MIB // 2), "text/plain")).size == MIB // 2


async def test_a_folder_signs_no_url(folder: FileObjectStore) -> None:
    assert await folder.presign_get(ObjectRef(BUCKET, "x"), 60) is None


# the S3 driver


@needs_s3
async def test_a_signed_url_reads_without_us(s3: S3ObjectStore, top: str) -> None:
    ref = ObjectRef(BUCKET, f"{top}a b/Übung+%41&=?#~'.jpg")
    await s3.put(ref, b"picture", "image/jpeg")
    url = await s3.presign_get(ref, 10**9)
    assert url is not None
    with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
        assert answer.read() == b"picture"


async def test_urls_are_signed_for_the_public_endpoint() -> None:
    settings = ObjectSettings.model_construct(
        endpoint="minio:9000", public_endpoint="https://files.example/", access_key="k", secret_key=SecretStr("s")
    )
    url = await S3ObjectStore(settings).presign_get(ObjectRef("b", "k"), 60)
    assert url is not None
    assert url.startswith("https://files.example/b/k?X-Amz-Algorithm=")


@needs_s3
@pytest.mark.parametrize("wrong", [{"secret_key": SecretStr("tell-nobody")}, {"access_key": "tell-nobody"}])
async def test_refused_credentials_name_the_variables(wrong: dict[str, object]) -> None:
    store = S3ObjectStore(SERVER.settings(**wrong))
    for asking in (store.check(), store.get(ObjectRef(BUCKET, "x")), anext(store.list(BUCKET, ""))):
        with pytest.raises(
            ObjectStoreError, match=r"credentials were refused.*MINIO_ACCESS_KEY.*MINIO_SECRET_KEY"
        ) as told:
            await asking
        assert "tell-nobody" not in str(told.value)
    await store.close()


async def test_an_unreachable_endpoint_is_named() -> None:
    store = S3ObjectStore(SERVER.settings(endpoint="127.0.0.1:9", access_key="k", secret_key=SecretStr("tell-nobody")))
    with pytest.raises(ObjectStoreError, match="MINIO_ENDPOINT cannot be reached"):
        await store.check()
    await store.close()


@needs_s3
async def test_a_cancelled_upload_leaves_nothing(s3: S3ObjectStore, top: str, tmp_path: Path) -> None:
    path, ref = tmp_path / "large", ObjectRef(BUCKET, f"{top}large.mp4")
    path.write_bytes(bytes(8 * PART_BYTES))
    client = await s3._client()
    sending = asyncio.create_task(s3.put_file(ref, path, "video/mp4"))
    while not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads"):
        await asyncio.sleep(0.005)
        assert not sending.done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads")
    with pytest.raises(ObjectNotFound):
        await s3.head(ref)


@needs_s3
async def test_a_failed_upload_leaves_nothing(s3: S3ObjectStore, top: str, tmp_path: Path) -> None:
    path, ref = tmp_path / "large", ObjectRef(BUCKET, f"{top}large.mp4")
    path.write_bytes(bytes(8 * PART_BYTES))
    client = await s3._client()
    sending = asyncio.create_task(s3.put_file(ref, path, "video/mp4"))
    while not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads"):
        await asyncio.sleep(0.005)
    os.truncate(path, 2 * PART_BYTES)
    with pytest.raises(ObjectStoreError, match="the file changed"):
        await sending
    assert not (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads")


@needs_s3
async def test_a_closed_store_opens_again(s3: S3ObjectStore) -> None:
    await s3.close()
    await s3.check()


# settings


def test_the_environment_chooses_the_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MINIO_ENDPOINT", "MINIO_PUBLIC_ENDPOINT", "MINIO_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(open_object_store(ObjectSettings(), tmp_path), FileObjectStore)
    monkeypatch.setenv("MINIO_ENDPOINT", "minio:9000")
    monkeypatch.setenv("MINIO_ACCESS_KEY", "k")
    monkeypatch.setenv("MINIO_SECRET_KEY", "tell-nobody")
    read = ObjectSettings()
    assert isinstance(open_object_store(read, tmp_path), S3ObjectStore)
    assert read.endpoint_url == "http://minio:9000"
    assert read.bucket == "reelmill"
    assert "tell-nobody" not in repr(read)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"access_key": None}, "MINIO_ACCESS_KEY"),
        ({"secret_key": None}, "MINIO_SECRET_KEY"),
        ({"endpoint": "http://user:tell-nobody@minio"}, "MINIO_ENDPOINT"),
        ({"endpoint": "ftp://minio"}, "MINIO_ENDPOINT"),
        ({"endpoint": "http://minio:port"}, "MINIO_ENDPOINT"),
        ({"public_endpoint": "https://"}, "MINIO_PUBLIC_ENDPOINT"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    given = {"endpoint": "minio:9000", "access_key": "k", "secret_key": SecretStr("tell-nobody")}
    with pytest.raises(StartupError, match=named) as told:
        open_object_store(ObjectSettings.model_construct(**(given | changes)), tmp_path)
    assert "tell-nobody" not in str(told.value)

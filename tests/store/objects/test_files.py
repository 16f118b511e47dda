"""What only the folder driver does: paths, links, temporary files, a full disk."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.plan.render_plan import ObjectRef
from service.store.objects.files import FileObjectStore
from service.store.objects.object_store import ObjectNotFound, ObjectStoreError
from tests.store.objects.conftest import BUCKET, list_objects

MIB = 1024 * 1024
pytestmark = pytest.mark.anyio


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
        found = [info.key for info in asyncio.run(list_objects(store, wanted))]
        assert found == sorted((key for key in kept if key.startswith(wanted)), key=str.encode)


async def test_links_are_neither_listed_nor_followed(folder: FileObjectStore, tmp_path: Path) -> None:
    await folder.put(ObjectRef(BUCKET, "a/x"), b"x", "text/plain")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    bucket = tmp_path / "objects" / BUCKET
    (bucket / "out").symlink_to(tmp_path / "secret")
    (bucket / "leaf").symlink_to(tmp_path / "secret" / "key")
    (bucket / "a" / "loop").symlink_to(bucket)
    assert [info.key for info in await list_objects(folder, "")] == ["a/x"]
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
    assert [info.key for info in await list_objects(folder, "")] == ["x"]
    for key in ("pipe", "empty"):
        with pytest.raises(ObjectNotFound):
            async with asyncio.timeout(5):
                await folder.get(ObjectRef(BUCKET, key))


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
    assert [info.key for info in await list_objects(folder, "")] == ["a", "b/c"]
    assert list((folder.root / ".tmp").iterdir()) == []


async def test_a_deep_tree(folder: FileObjectStore) -> None:
    key = "/".join(["d"] * 500)
    await folder.put(ObjectRef(BUCKET, key), b"x", "text/plain")
    assert [info.key for info in await list_objects(folder, "d/d")] == [key]


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
    assert [info.key for info in await list_objects(store, "")] == ["x"]
    assert list((small_disk / ".tmp").iterdir()) == []
    assert (await store.put(ref, bytes(MIB // 2), "text/plain")).size == MIB // 2


async def test_a_folder_signs_no_url(folder: FileObjectStore) -> None:
    assert await folder.presign_get(ObjectRef(BUCKET, "x"), 60) is None

"""The object process of a slot: real processes, asked by this one as if it were a codec process."""

import asyncio
import json
import os
import pickle
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from service.ids import new_uuid
from service.plan.preview import OutputFrame, RenderedPreview, SampleArray, ThumbnailSheet
from service.plan.render_plan import FrameRef, ObjectRef, SegmentPlan
from service.scratch import make_scratch, make_working_files, remove_scratch, use_working_files
from service.store.objects.digests import StoredSegment, transient_key
from service.store.objects.files import file_etag
from service.store.objects.keys import artifact_key, render_object_key
from service.store.objects.object_store import (
    ObjectAccess,
    ObjectChanged,
    ObjectNotFound,
    ObjectStoreError,
    ObjectTooLarge,
    ObjectVersion,
)
from service.store.settings import ObjectSettings
from service.worker.objects.child import ObjectsConfig
from service.worker.objects.client import ObjectClient, ObjectProcessGone, RemoteObjectStore, RemoteReader
from service.worker.objects.grants import Grant
from service.worker.objects.process import ObjectProcess
from service.worker.objects.wire import LENGTHS, MAX_REQUEST_BODY, MAX_REQUEST_HEAD
from service.worker.scan.store import ScanTarget
from service.worker.slots.messages import (
    AssembleRender,
    Command,
    RenderPreview,
    RenderSegment,
    grant_for,
    grant_for_scan,
)
from tests.plan.test_segments import OPTIONS
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
BUCKET, RENDER = "reelmill", new_uuid()
OWN, FOREIGN = "a" * 64, "b" * 64
FILES = {"frames/own.jpg": b"own", "frames/foreign.jpg": b"foreign", artifact_key(OWN, "mp4"): b"segment"}
SEGMENT = RenderSegment(SegmentPlan(0, 0, BUCKET, OPTIONS, (FrameRef(0, "frames/own.jpg", "", 3),)), OWN)
ASSEMBLY = AssembleRender(RENDER, OPTIONS, (StoredSegment(OWN, 7),))
PREVIEW = RenderedPreview(new_uuid(), SEGMENT.plan)
SHEET = ThumbnailSheet(new_uuid(), "frames", BUCKET, SEGMENT.plan.frames, (160, 90), 10**6)
ARRAY = SampleArray(new_uuid(), BUCKET, SEGMENT.plan.frames[0], (9, 9), (0, 0, 9, 9), 10**6)
OUTPUT = OutputFrame(new_uuid(), RENDER, 3, "h264", artifact_key(OWN, "mp4"), 3)
SCAN = grant_for_scan(ScanTarget(new_uuid(), "image", BUCKET, "frames/o"))


@pytest.fixture
async def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ObjectProcess]:
    monkeypatch.setattr("service.scratch._working_files", {})
    for key, data in FILES.items():
        path = tmp_path / "objects" / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    scratch = make_scratch()
    make_working_files(scratch)
    use_working_files(scratch)
    process = ObjectProcess(ObjectsConfig(ObjectSettings.model_construct(), tmp_path, 4096, scratch, 10), "test")
    yield process
    await process.stop()
    remove_scratch(scratch)


def connect(process: ObjectProcess) -> tuple[RemoteObjectStore, RemoteReader]:
    client = ObjectClient(process.attach())
    return RemoteObjectStore(client, BUCKET), RemoteReader(client)


def grant_of(command: Command) -> Grant:
    return grant_for(command, BUCKET)


async def is_allowed(store: ObjectAccess, method: str, key: str) -> bool:
    ref = ObjectRef(BUCKET, key)
    try:
        match method:
            case "write":
                await store.put(ref, b"new", "image/jpeg")
            case "list":
                assert [page async for page in store.list(BUCKET, key)]
            case _:
                await getattr(store, method)(ref)
    except ObjectStoreError as error:
        assert "does not need this object" in str(error), error
        return False
    return True


# What a command reaches, and what it does not.
REACHED = (
    (grant_of(SEGMENT), "get", "frames/own.jpg", "frames/foreign.jpg"),
    (grant_of(SEGMENT), "head", "frames/own.jpg", artifact_key(OWN, "mp4")),
    (grant_of(SEGMENT), "write", artifact_key(OWN, "ndjson"), artifact_key(FOREIGN, "mp4")),
    (grant_of(SEGMENT), "write", artifact_key(OWN, "mp4"), "frames/own.jpg"),
    (grant_of(ASSEMBLY), "get", artifact_key(OWN, "mp4"), "frames/own.jpg"),
    (grant_of(ASSEMBLY), "write", render_object_key(RENDER, "video.mp4"), render_object_key(new_uuid(), "video.mp4")),
    (grant_of(ASSEMBLY), "write", render_object_key(RENDER, "poster.jpg"), artifact_key(OWN, "mp4")),
    (grant_of(RenderPreview(PREVIEW)), "get", "frames/own.jpg", "frames/foreign.jpg"),
    (grant_of(RenderPreview(PREVIEW)), "write", PREVIEW.key, PREVIEW.key + ".jpg"),
    (grant_of(RenderPreview(SHEET)), "get", "frames/own.jpg", "frames/foreign.jpg"),
    (grant_of(RenderPreview(SHEET)), "write", SHEET.key, PREVIEW.key),
    (grant_of(RenderPreview(ARRAY)), "get", "frames/own.jpg", "frames/foreign.jpg"),
    (grant_of(RenderPreview(ARRAY)), "write", ARRAY.key, PREVIEW.key),
    (grant_of(RenderPreview(OUTPUT)), "get", artifact_key(OWN, "mp4"), artifact_key(OWN, "ndjson")),
    (grant_of(RenderPreview(OUTPUT)), "write", OUTPUT.key, artifact_key(OWN, "mp4")),
    (SCAN, "get", "frames/own.jpg", "frames/foreign.jpg"),
    (SCAN, "list", "frames/o", "frames/"),
)  # fmt: skip


async def test_a_command_reaches_its_own_objects(process: ObjectProcess) -> None:
    store, _ = connect(process)
    for grant, method, allowed, refused in REACHED:
        await process.grant(grant)
        assert await is_allowed(store, method, allowed), allowed
        assert not await is_allowed(store, method, refused), refused
        await process.grant(Grant())
        assert not await is_allowed(store, method, allowed), "a command that has ended needs nothing"


async def test_a_transient_segment_has_a_key_of_its_own_digests(process: ObjectProcess) -> None:
    store, _ = connect(process)
    await process.grant(grant_of(SEGMENT))
    store.add_transient({"mp4": "c" * 64})
    assert await is_allowed(store, "write", artifact_key(transient_key(OWN, {"mp4": "c" * 64}), "mp4"))
    assert not await is_allowed(store, "write", artifact_key(transient_key(FOREIGN, {"mp4": "c" * 64}), "mp4"))


async def test_large_objects_and_long_listings(process: ObjectProcess, tmp_path: Path) -> None:
    folder = tmp_path / "objects" / BUCKET / "many"
    folder.mkdir()
    for number in range(2500):
        (folder / f"{number:04}").touch()
    store, reader = connect(process)
    everything = frozenset([ObjectRef(BUCKET, ""), ObjectRef(BUCKET, "many/")])
    await process.grant(Grant(read_below=everything, write_below=everything))
    assert [len(page) async for page in store.list(BUCKET, "many/")] == [1000, 1000, 500]
    large, ref = os.urandom(MAX_REQUEST_BODY + 1), ObjectRef(BUCKET, "large")
    info = await store.put(ref, large, "video/mp4")
    assert (info.key, info.size) == ("large", len(large))
    assert await store.get(ref) == large and await store.get(ref, 5, 9) == large[5:9]
    whole = await asyncio.wrap_future(reader.submit(ObjectVersion(ref, info.etag), None, 2**28))
    assert (whole.data, whole.size, whole.etag) == (large, len(large), info.etag)
    part = await asyncio.wrap_future(reader.submit(ObjectVersion(ref, info.etag), (3, 8), 5))
    assert part.data == large[3:8] and reader.stats.bytes == len(large) + 5
    with pytest.raises(ObjectChanged):
        await asyncio.wrap_future(reader.submit(ObjectVersion(ref, "other", len(large)), None, 2**28))
    with pytest.raises(ObjectTooLarge):
        await asyncio.wrap_future(reader.submit(ObjectVersion(ref, info.etag, len(large)), None, 5))


async def test_listings_that_were_given_up_keep_nobody_from_the_next(process: ObjectProcess, tmp_path: Path) -> None:
    store, _ = connect(process)
    await process.grant(SCAN)
    for _ in range(10):
        async for page in store.list(BUCKET, "frames/o"):
            assert [info.key for info in page] == ["frames/own.jpg"]
            break


async def test_errors_are_those_of_the_store(process: ObjectProcess, tmp_path: Path) -> None:
    store, reader = connect(process)
    await process.grant(Grant(read_below=frozenset([ObjectRef(BUCKET, "")])))
    with pytest.raises(ObjectNotFound, match="there is no object"):
        await store.get(ObjectRef(BUCKET, "gone.jpg"))
    own = ObjectRef(BUCKET, "frames/own.jpg")
    etag = file_etag((tmp_path / "objects" / BUCKET / "frames/own.jpg").stat())
    with pytest.raises(ObjectChanged, match=f"its etag is {etag} and not x"):
        await asyncio.wrap_future(reader.submit(ObjectVersion(own, "x"), None, 100))
    with pytest.raises(ObjectTooLarge, match="the object has 3 bytes"):
        await asyncio.wrap_future(reader.submit(ObjectVersion(own, etag), None, 2))


def request(*values: object) -> bytes:
    head = json.dumps(values).encode()
    return LENGTHS.pack(len(head), 0) + head


NO_REQUESTS = (
    LENGTHS.pack(MAX_REQUEST_HEAD + 1, 0),
    LENGTHS.pack(2, MAX_REQUEST_BODY + 1) + b"[]",
    LENGTHS.pack(4, 0) + b"\x80\x04N.",
    LENGTHS.pack(40_000, 0) + b"[" * 40_000,
    LENGTHS.pack(2, 0) + b"{}",
    request(1, "delete", BUCKET, "frames/own.jpg"),
    request(1, "__class__"),
    request("1", "get", BUCKET, "frames/own.jpg", 0, -1, ""),
    request(1, "read", BUCKET, "frames/own.jpg", "", 0, 0, -1, 2**60),
    request(1, "read", BUCKET, "frames/own.jpg", "", 0, 0, 2**60, 5),
    request(1, "add_transient", [1]),
    pickle.dumps(os.getpid),
    os.urandom(100),
)


async def test_what_is_no_request_ends_the_connection(process: ObjectProcess) -> None:
    for data in NO_REQUESTS:
        connection = process.attach()
        end = socket.socket(fileno=os.dup(connection.fileno()))
        connection.close()
        await process.grant(Grant(read_below=frozenset([ObjectRef(BUCKET, "")])))
        end.settimeout(30)
        with suppress(ConnectionError):  # it is closed before all of it is read
            await asyncio.to_thread(end.sendall, data)
            end.shutdown(socket.SHUT_WR)
            assert await asyncio.to_thread(end.recv, 2**16) == b"", data
    store, _ = connect(process)
    assert await store.get(ObjectRef(BUCKET, "frames/own.jpg")) == b"own", "the next codec process is served"


async def test_arguments_of_other_types_are_answered_with_an_error(process: ObjectProcess) -> None:
    client = ObjectClient(process.attach())
    for method, *arguments in (
        ("get", 1, 2),
        ("head",),
        ("list", BUCKET, None),
        ("put_file", BUCKET, "x", "t", "/etc/passwd"),
    ):
        with pytest.raises(ObjectStoreError):
            await asyncio.wrap_future(client.call(method, *arguments))


async def test_a_process_that_hangs_while_it_starts(process: ObjectProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a minute to start on a busy machine, but not if it does nothing at all."""
    monkeypatch.setattr("service.worker.start_watch.STALL_S", 1.0)
    connection: Connection = process.attach()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    assert await process.is_responsive()
    async with asyncio.timeout(PATIENCE_S):
        while await process.is_responsive():
            await asyncio.sleep(0.1)
    os.kill(process.pid, signal.SIGCONT)
    async with asyncio.timeout(PATIENCE_S):
        while not await process.is_responsive():
            await asyncio.sleep(0.1)
    connection.close()


async def test_a_process_that_has_nothing_to_do_is_left_alone(
    process: ObjectProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a first command, which may take hours to come."""
    monkeypatch.setattr("service.worker.start_watch.STALL_S", 0.5)
    connection: Connection = process.attach()
    async with asyncio.timeout(PATIENCE_S):
        while not process._has_answered:
            await process.is_responsive()
    for _ in range(15):
        await asyncio.sleep(0.2)
        assert await process.is_responsive()
    store = RemoteObjectStore(ObjectClient(connection), BUCKET)
    await process.grant(grant_of(SEGMENT))
    assert await is_allowed(store, "get", "frames/own.jpg")


async def test_a_dead_process_is_noticed_by_those_who_wait(process: ObjectProcess) -> None:
    _, reader = connect(process)
    await process.grant(grant_of(SEGMENT))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    assert not await process.is_responsive()
    waiting = reader.submit(ObjectVersion(ObjectRef(BUCKET, "frames/own.jpg")), None, 100)
    process.kill()
    with pytest.raises(ObjectProcessGone):
        await asyncio.wrap_future(waiting)
    with pytest.raises(ObjectProcessGone):
        await asyncio.wrap_future(reader.submit(ObjectVersion(ObjectRef(BUCKET, "frames/own.jpg")), None, 100))
    connection: Connection = process.attach()
    assert process.is_alive and await process.is_responsive()
    connection.close()

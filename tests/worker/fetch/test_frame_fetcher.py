"""The slot's reader over a folder, over a small real HTTP server that can misbehave, and over S3 where there is one."""

import asyncio
import hashlib
import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from pydantic import SecretStr

from service.pipeline.frames import FrameChanged, FrameMissing, FrameUnreadable
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.files import file_etag
from service.store.objects.object_store import ObjectStoreError
from service.store.objects.s3 import S3ObjectStore
from service.store.settings import ObjectSettings
from service.worker.fetch.frame_fetcher import MAX_PENDING_PER_READ, FrameFetcher
from service.worker.fetch.ranged_files import SOURCE_BLOCK_BYTES
from tests.support.servers.object_server import FaultyObjectServer
from tests.support.servers.s3_server import needs_s3, s3_server

MIB = 1024 * 1024
SIZE = 210_000
BUCKET = "reelmill"


@pytest.fixture
def server() -> Iterator[FaultyObjectServer]:
    server = FaultyObjectServer()
    yield server
    server.stop()


def object_settings(address: str, timeout_s: float = 20) -> ObjectSettings:
    return ObjectSettings.model_construct(
        endpoint=address, access_key="k", secret_key=SecretStr("tell-nobody"), timeout_s=timeout_s
    )


@pytest.fixture
def fetcher(server: FaultyObjectServer, tmp_path: Path) -> Iterator[FrameFetcher]:
    fetcher = FrameFetcher(object_settings(server.address), tmp_path)
    yield fetcher
    fetcher.close()


class StoredFrames:
    """A fetcher, and a function that stores an object where it reads and returns its etag."""

    def __init__(self, fetcher: FrameFetcher, put: Callable[[str, bytes], str]) -> None:
        self.fetcher, self.put = fetcher, put

    def ref(self, key: str, data: bytes, index: int = 0) -> FrameRef:
        """Store the object as a scan would find it."""
        return FrameRef(index, key, self.put(key, data), len(data))

    def frames(self, count: int, size: int = SIZE) -> list[tuple[FrameRef, bytes]]:
        datas = [os.urandom(size) for _ in range(count)]
        return [(self.ref(f"f/{n:05} é+.jpg", data, n), data) for n, data in enumerate(datas)]


@pytest.fixture(params=["folder", "server"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoredFrames]:
    def put(key: str, data: bytes) -> str:
        path = tmp_path / "objects" / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return file_etag(path.stat())

    if request.param == "folder":
        fetcher = FrameFetcher(ObjectSettings.model_construct(), tmp_path)
        yield StoredFrames(fetcher, put)
        fetcher.close()
    else:
        server: FaultyObjectServer = request.getfixturevalue("server")
        yield StoredFrames(request.getfixturevalue("fetcher"), server.put)


def test_frames_come_in_order_and_once(shelf: StoredFrames) -> None:
    frames = shelf.frames(120)
    wanted = frames[10:110:3]
    with shelf.fetcher.prefetch(BUCKET, (ref for ref, _ in wanted), 8 * MIB) as reader:
        assert all(reader.read(ref) == data for ref, data in wanted)
    assert (shelf.fetcher.stats.objects, shelf.fetcher.stats.bytes) == (len(wanted), len(wanted) * SIZE)
    assert shelf.fetcher.stats.seconds > 0


def test_a_hole_or_a_gone_object_is_told_at_its_turn(shelf: StoredFrames) -> None:
    frames = shelf.frames(3, 100)
    gone = FrameRef(9, "f/gone.jpg", "e", 100)
    with shelf.fetcher.prefetch(BUCKET, [frames[0][0], gone, FrameRef(4, None), frames[1][0]]) as reader:
        assert reader.read(frames[0][0]) == frames[0][1]
        with pytest.raises(FrameMissing):
            reader.read(gone)
        with pytest.raises(FrameMissing):
            reader.read(FrameRef(4, None))
        assert reader.read(frames[1][0]) == frames[1][1]


def test_lead_frames_are_fetched_on_demand_only(shelf: StoredFrames) -> None:
    frames = shelf.frames(8, 100)
    with shelf.fetcher.prefetch(BUCKET, [ref for ref, _ in frames[2:]]) as reader:
        for ref, data in (frames[2], frames[1], frames[3]):
            assert reader.read(ref) == data
        for ref, data in frames[4:]:
            assert reader.read(ref) == data
    assert shelf.fetcher.stats.objects == 7


def test_frames_passed_over_do_not_block_the_window(shelf: StoredFrames) -> None:
    frames = shelf.frames(60)
    with shelf.fetcher.prefetch(BUCKET, [ref for ref, _ in frames], 2 * SIZE) as reader:
        assert all(reader.read(ref) == data for ref, data in frames[::7])


def test_an_object_whose_size_is_unknown(shelf: StoredFrames) -> None:
    for key, size in (("unknown", SIZE), ("huge", 5 * MIB), ("empty", 0)):
        shelf.put(key, bytes(size))
    refs = [FrameRef(n, key) for n, key in enumerate(["unknown", "huge", "empty"])]
    with shelf.fetcher.prefetch(BUCKET, refs) as reader:
        assert [len(reader.read(ref)) for ref in refs] == [SIZE, 5 * MIB, 0]


def test_objects_above_the_limit_are_refused(shelf: StoredFrames) -> None:
    shelf.fetcher.max_frame_bytes = 1000
    shelf.put("unknown", bytes(1001))
    refs = [shelf.ref("large", bytes(1001)), FrameRef(1, "unknown"), shelf.ref("good", bytes(1000), 2)]
    with shelf.fetcher.prefetch(BUCKET, refs) as reader:
        for ref in refs[:2]:
            with pytest.raises(FrameUnreadable, match="1001 bytes, more than the limit of 1000"):
                reader.read(ref)
        assert len(reader.read(refs[2])) == 1000
    assert shelf.fetcher.stats.objects == 1


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("size", "window", "concurrency", "ahead"),
    [
        (SIZE, 5 * SIZE, 16, 5),
        (SIZE, 100, 16, 1),
        (10, MIB, 2, 2 * MAX_PENDING_PER_READ),
        (SIZE, 1000 * SIZE, 3, 3 * MAX_PENDING_PER_READ),
    ],
)
def test_what_is_ahead_is_bounded(shelf: StoredFrames, size: int, window: int, concurrency: int, ahead: int) -> None:
    frames = shelf.frames(60, size)
    with shelf.fetcher.prefetch(BUCKET, [ref for ref, _ in frames], window, concurrency) as reader:
        wait_until(lambda: shelf.fetcher.stats.objects == ahead)
        time.sleep(0.2)
        assert shelf.fetcher.stats.objects == ahead
        reader.read(frames[0][0])
        wait_until(lambda: shelf.fetcher.stats.objects == ahead + 1)


def test_concurrency_is_kept_and_used(server: FaultyObjectServer, fetcher: FrameFetcher) -> None:
    frames = StoredFrames(fetcher, server.put).frames(60, 100)
    server.pause_s = 0.03
    with fetcher.prefetch(BUCKET, [ref for ref, _ in frames], concurrency=10) as reader:
        assert all(reader.read(ref) == data for ref, data in frames)
    assert server.max_running == 10
    assert set(server.request_counts.values()) == {1}


def test_an_abandoned_reader_drops_what_is_under_way(server: FaultyObjectServer, fetcher: FrameFetcher) -> None:
    frames = StoredFrames(fetcher, server.put).frames(40, 100)
    server.pause_s = 20
    with pytest.raises(KeyError), fetcher.prefetch(BUCKET, [ref for ref, _ in frames], concurrency=4):
        wait_until(lambda: server.running == 4)
        raise KeyError
    wait_until(lambda: server.running == 0)
    assert (len(server.dropped), server.request_counts.total(), fetcher.stats.objects) == (4, 4, 0)


def test_close_stops_the_thread(server: FaultyObjectServer, tmp_path: Path) -> None:
    before = threading.active_count()
    fetcher = FrameFetcher(object_settings(server.address), tmp_path)
    frames = StoredFrames(fetcher, server.put).frames(40, 100)
    server.pause_s = 20
    fetcher.prefetch(BUCKET, [ref for ref, _ in frames])
    wait_until(lambda: server.running == 16)
    fetcher.close()
    wait_until(lambda: server.running == 0)
    assert threading.active_count() == before
    assert server.request_counts.total() == 16


@pytest.mark.parametrize("faults", [["503", "503"], ["500"], ["429"], ["truncated", "truncated"], ["503", "truncated"]])
def test_a_passing_fault_costs_only_time(server: FaultyObjectServer, fetcher: FrameFetcher, faults: list[str]) -> None:
    data = os.urandom(SIZE)
    ref = FrameRef(0, "x", server.put("x", data), SIZE)
    server.faults["x"] = list(faults)
    with fetcher.prefetch(BUCKET, [ref]) as reader:
        assert reader.read(ref) == data
    assert (server.request_counts["x"], fetcher.stats.objects, fetcher.stats.bytes) == (len(faults) + 1, 1, SIZE)


@pytest.mark.parametrize("fault", ["slow", "stalled"])
def test_a_slow_answer_is_asked_for_again(server: FaultyObjectServer, tmp_path: Path, fault: str) -> None:
    data = os.urandom(SIZE)
    ref = FrameRef(0, "x", server.put("x", data), SIZE)
    server.faults["x"] = [fault]
    fetcher = FrameFetcher(object_settings(server.address, timeout_s=0.4), tmp_path)
    with fetcher.prefetch(BUCKET, [ref]) as reader:
        assert reader.read(ref) == data
    fetcher.close()


@pytest.mark.parametrize(
    ("fault", "said"), [("503", "503"), ("truncated", "Payload"), ("slow", "Timeout"), ("400", "400")]
)
def test_a_lasting_fault_is_the_store_s_and_not_the_frame_s(
    server: FaultyObjectServer, tmp_path: Path, fault: str, said: str
) -> None:
    ref = FrameRef(0, "x", server.put("x", bytes(SIZE)), SIZE)
    server.faults["x"] = [fault] * 20
    fetcher = FrameFetcher(object_settings(server.address, timeout_s=0.4), tmp_path)
    with fetcher.prefetch(BUCKET, [ref]) as reader, pytest.raises(ObjectStoreError, match=f"MINIO_ENDPOINT.*{said}"):
        reader.read(ref)
    assert 1 <= server.request_counts["x"] <= 6
    fetcher.close()


def test_refused_credentials_are_told_without_a_secret(server: FaultyObjectServer, fetcher: FrameFetcher) -> None:
    server.faults["x"] = ["403"]
    with pytest.raises(ObjectStoreError, match="MINIO_SECRET_KEY") as failure:
        fetcher.fetch(BUCKET, FrameRef(0, "x", "e", 5))
    assert "tell-nobody" not in str(failure.value)
    assert server.request_counts["x"] == 1


def test_a_server_that_is_away(tmp_path: Path) -> None:
    fetcher = FrameFetcher(object_settings("127.0.0.1:9"), tmp_path)
    with pytest.raises(ObjectStoreError, match="MINIO_ENDPOINT failed 6 times: ClientConnectorError"):
        fetcher.fetch(BUCKET, FrameRef(0, "x", "e", 5))
    fetcher.close()


async def _read_all(address: str) -> bytes:
    store = S3ObjectStore(object_settings(address, timeout_s=5))
    try:
        return await store.get(ObjectRef(BUCKET, "x"))
    finally:
        await store.close()


def test_the_driver_reads_again_what_broke_off(server: FaultyObjectServer) -> None:
    server.objects["x"], server.faults["x"] = os.urandom(SIZE), ["truncated", "503", "truncated"]
    assert asyncio.run(_read_all(server.address)) == server.objects["x"]


# source videos


def test_a_source_is_a_seekable_file(shelf: StoredFrames) -> None:
    data, rng = os.urandom(5 * SOURCE_BLOCK_BYTES + 12_345), random.Random(7)
    with shelf.fetcher.source_opener(BUCKET).open(shelf.ref("v.mp4", data)) as file:
        plain = io.BytesIO(data)
        for _ in range(300):
            offset, whence = rng.choice([(rng.randrange(len(data) + 9), 0), (-rng.randrange(999), 2), (5, 1)])
            assert file.seek(offset, whence) == plain.seek(offset, whence)
            count = rng.choice([0, 1, 32_768, SOURCE_BLOCK_BYTES + 1])
            assert file.read(count) == plain.read(count)
            assert file.tell() == plain.tell()
        file.seek(0)
        assert file.read() == data


def test_reading_forward_fetches_each_block_once(server: FaultyObjectServer, fetcher: FrameFetcher) -> None:
    ref = StoredFrames(fetcher, server.put).ref("v.mp4", os.urandom(6 * SOURCE_BLOCK_BYTES + 1))
    with fetcher.source_opener(BUCKET).open(ref) as file:
        while file.read(32_768):
            pass
    assert (server.request_counts["v.mp4"], fetcher.stats.objects, fetcher.stats.bytes) == (
        7,
        1,
        6 * SOURCE_BLOCK_BYTES + 1,
    )


@pytest.mark.parametrize("size", [0, 1, SOURCE_BLOCK_BYTES, SOURCE_BLOCK_BYTES + 1])
def test_sources_of_awkward_sizes(shelf: StoredFrames, size: int) -> None:
    data = os.urandom(size)
    shelf.put("v.mp4", data)
    with shelf.fetcher.source_opener(BUCKET).open(FrameRef(0, "v.mp4")) as file:
        assert file.read() == data


def test_a_source_that_is_gone(shelf: StoredFrames) -> None:
    for ref in (FrameRef(0, "gone.mp4", "e", 5), FrameRef(0, None)):
        with pytest.raises(FrameMissing):
            shelf.fetcher.source_opener(BUCKET).open(ref)


def test_a_server_without_ranges_is_told(server: FaultyObjectServer, fetcher: FrameFetcher) -> None:
    ref, server.ranges = StoredFrames(fetcher, server.put).ref("v.mp4", os.urandom(2 * SOURCE_BLOCK_BYTES)), False
    with pytest.raises(ObjectStoreError, match="does not serve ranges"):
        fetcher.source_opener(BUCKET).open(ref)


def test_a_source_that_changes_while_it_is_read(shelf: StoredFrames) -> None:
    with shelf.fetcher.source_opener(BUCKET).open(shelf.ref("v.mp4", os.urandom(3 * SOURCE_BLOCK_BYTES))) as file:
        assert len(file.read(100)) == 100
        shelf.put("v.mp4", os.urandom(3 * SOURCE_BLOCK_BYTES))
        file.seek(2 * SOURCE_BLOCK_BYTES)
        with pytest.raises(FrameChanged, match="changed since the scan"):
            file.read(100)


def video(pictures: int) -> bytes:
    """Noise, so that it is larger than a few blocks; the index is at the end."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 1024, 768, "yuvj420p"
        noise = np.random.default_rng(1)
        for _ in range(pictures):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 256, (768, 1024, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


def test_av_opens_a_source(shelf: StoredFrames) -> None:
    data = video(40)
    assert len(data) > 3 * SOURCE_BLOCK_BYTES
    with (
        shelf.fetcher.source_opener(BUCKET).open(shelf.ref("v.mp4", data)) as file,
        av.open(file) as container,
    ):
        assert sum(1 for _ in container.decode(video=0)) == 40


@pytest.mark.parametrize("good", [1, 2, 3])
def test_a_fault_under_av_is_the_store_s_and_not_the_video_s(
    server: FaultyObjectServer, tmp_path: Path, good: int
) -> None:
    """Whichever block it meets: the index at the end, or pictures."""
    data = video(40)
    ref = FrameRef(0, "v.mp4", server.put("v.mp4", data), len(data))
    server.faults["v.mp4"] = ["ok"] * good + ["503"] * 40
    fetcher = FrameFetcher(object_settings(server.address, timeout_s=0.2), tmp_path)
    with (
        pytest.raises(ObjectStoreError),
        fetcher.source_opener(BUCKET).open(ref) as file,
        av.open(file) as container,
    ):
        assert sum(1 for _ in container.decode(video=0)) < 40
    fetcher.close()


# S3


@needs_s3
def test_a_real_server_takes_our_signatures(tmp_path: Path) -> None:
    settings = s3_server().settings()
    bucket = settings.bucket
    objects = {f"ex p/Ü+%41&=?#~'{n}*.jpg": os.urandom(SIZE) for n in range(30)} | {"v.mp4": video(40)}
    asyncio.run(_put_objects(settings, objects))
    fetcher = FrameFetcher(settings, tmp_path)
    try:
        etags = {key: hashlib.md5(data).hexdigest() for key, data in objects.items()}
        refs = [FrameRef(n, key, etags[key], len(data)) for n, (key, data) in enumerate(objects.items())]
        with fetcher.prefetch(bucket, refs) as reader:
            assert [reader.read(ref) for ref in refs] == list(objects.values())
        with fetcher.source_opener(bucket).open(refs[-1]) as file, av.open(file) as container:
            assert sum(1 for _ in container.decode(video=0)) == 40
        with pytest.raises(FrameMissing):
            fetcher.fetch(bucket, FrameRef(0, "gone", "e", 5))
        asyncio.run(_put_objects(settings, {refs[0].key or "": os.urandom(SIZE), "v.mp4": video(41)}))
        with pytest.raises(FrameChanged):
            fetcher.fetch(bucket, refs[0])
        with pytest.raises(FrameChanged):
            fetcher.source_opener(bucket).open(refs[-1])
    finally:
        fetcher.close()
        asyncio.run(_delete_objects(settings, objects))


async def _put_objects(settings: ObjectSettings, objects: dict[str, bytes]) -> None:
    store = S3ObjectStore(settings)
    await store.check()
    for key, data in objects.items():
        await store.put(ObjectRef(settings.bucket, key), data, "image/jpeg")
    await store.close()


async def _delete_objects(settings: ObjectSettings, objects: dict[str, bytes]) -> None:
    store = S3ObjectStore(settings)
    for key in objects:
        await store.delete(ObjectRef(settings.bucket, key))
    await (await store._client()).delete_bucket(Bucket=settings.bucket)
    await store.close()

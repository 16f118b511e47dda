"""The slot's reader of frames over a folder, and over a small real HTTP server that can misbehave."""

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from service.pipeline.frames import FrameMissing, FrameUnreadable
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.object_store import ObjectStoreError
from service.store.objects.s3 import S3ObjectStore
from service.worker.fetch.frame_fetcher import MAX_PENDING_PER_READ, FrameFetcher
from tests.support.servers.object_server import FaultyObjectServer
from tests.support.servers.stored_frames import BUCKET, SIZE, StoredFrames, object_settings, open_fetcher, wait_until

MIB = 1024 * 1024


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
    fetcher = open_fetcher(object_settings(server.address), tmp_path)
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
    fetcher = open_fetcher(object_settings(server.address, timeout_s=0.4), tmp_path)
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
    fetcher = open_fetcher(object_settings(server.address, timeout_s=0.4), tmp_path)
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
    fetcher = open_fetcher(object_settings("127.0.0.1:9"), tmp_path)
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

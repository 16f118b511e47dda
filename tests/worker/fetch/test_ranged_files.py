"""The slot's reader of source videos over a folder, and over a small real HTTP server that can misbehave."""

import io
import os
import random
from pathlib import Path

import av
import pytest

from service.pipeline.frames import FrameChanged, FrameMissing
from service.plan.render_plan import FrameRef
from service.store.objects.object_store import ObjectStoreError
from service.worker.fetch.frame_fetcher import FrameFetcher
from service.worker.fetch.ranged_files import SOURCE_BLOCK_BYTES
from tests.support.data.media import noise_video
from tests.support.servers.object_server import FaultyObjectServer
from tests.support.servers.stored_frames import BUCKET, StoredFrames, object_settings, open_fetcher


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


def test_av_opens_a_source(shelf: StoredFrames) -> None:
    data = noise_video(40)
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
    data = noise_video(40)
    ref = FrameRef(0, "v.mp4", server.put("v.mp4", data), len(data))
    server.faults["v.mp4"] = ["ok"] * good + ["503"] * 40
    fetcher = open_fetcher(object_settings(server.address, timeout_s=0.2), tmp_path)
    with (
        pytest.raises(ObjectStoreError),
        fetcher.source_opener(BUCKET).open(ref) as file,
        av.open(file) as container,
    ):
        assert sum(1 for _ in container.decode(video=0)) < 40
    fetcher.close()

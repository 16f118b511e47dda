"""A source video takes memory for the pictures that are at work, not for all that were decoded before."""

import gc
import io
from collections.abc import Iterator

import numpy as np
import pytest
from av import VideoFrame

from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import probe_video
from service.pipeline.videos.source import VideoSource
from tests.support.data import media
from tests.support.processes.peak_memory import in_new_process, memory_left, peak_bytes

PICTURES = 30


def mpeg4(width: int, height: int, count: int = PICTURES) -> bytes:
    picture = np.full((height, width, 3), 90, np.uint8)
    return media.video((picture for _ in range(count)), codec="mpeg4")


@pytest.fixture
def _without_collection() -> Iterator[None]:
    """Python looks for circles of objects only now and then, however large they are."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_collection")
def test_a_picture_is_freed_when_the_next_one_has_taken_its_place() -> None:
    data = mpeg4(64, 48)
    facts = probe_video(io.BytesIO(data))
    before = living_frames()
    with VideoSource(io.BytesIO(data)) as source:
        for pts in facts.pts:
            picture = source.picture(pts)
        assert picture.frame.pts == facts.pts[-1]
        assert living_frames() - before <= 3


def living_frames() -> int:
    return sum(isinstance(found, VideoFrame) for found in gc.get_objects())


def test_a_scan_does_not_hold_the_pictures_that_it_compares() -> None:
    width, height = 1280, 720
    picture_bytes = width * height * 3 // 2
    peak = in_new_process(peak_of_probe, (mpeg4(64, 48), mpeg4(width, height)))
    assert 2 * picture_bytes < peak < PICTURES * picture_bytes // 2


def peak_of_probe(videos: tuple[bytes, bytes]) -> int:
    small, large = videos
    probe(small)
    return peak_bytes(probe, large)


def probe(data: bytes) -> None:
    assert len(probe_video(io.BytesIO(data)).pts) == PICTURES


def reasons_without_memory(data: bytes) -> tuple[str, str]:
    with memory_left(20 << 20):
        try:
            probe_video(io.BytesIO(data))
        except MediaUnreadable as error:
            probed = error.reason
    with VideoSource(io.BytesIO(data)) as source, memory_left(1 << 20):
        try:
            source.picture(0)
        except (MemoryError, MediaUnreadable) as error:
            shown = type(error).__name__
    return probed, shown


def test_a_source_video_that_does_not_fit_is_not_called_damaged() -> None:
    probed, shown = in_new_process(reasons_without_memory, mpeg4(3840, 2160, 2))
    assert probed.startswith("decoding it takes about 24 MiB, and the slot has") and "REELMILL_SLOT_MEMORY_MB" in probed
    assert shown == "MemoryError"

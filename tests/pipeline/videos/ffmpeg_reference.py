"""Small videos of numbered pictures made by FFmpeg's command, and the pictures that the command itself decodes from a file.

It is another build of FFmpeg than PyAV's, and another program: an independent reference for counts and contents.
"""

import functools
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import VideoFacts, probe_video
from service.pipeline.videos.source import VideoSource
from tests.support.data import media
from tests.support.data.ffmpeg_command import run_ffmpeg as run_ffmpeg

WIDTH, HEIGHT = 128, 96
Pictures = np.ndarray[Any, np.dtype[np.uint8]]


@functools.cache
def make_numbered_video(suffix: str, *options: str, count: int = 50, first: int = 0, rate: str = "25") -> bytes:
    """Pictures `first`, `first` + 1, … in a file of the container that FFmpeg uses for `suffix`."""
    raw = b"".join(media.numbered_picture(first + number).tobytes() for number in range(count))
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", rate, "-i", "-")
    pixels = () if "-pix_fmt" in options else ("-pix_fmt", "yuv420p")
    with tempfile.TemporaryDirectory(prefix="videos-") as folder:
        path = Path(folder, f"video{suffix}")
        run_ffmpeg(*source, *pixels, *options, str(path), data=raw)
        return path.read_bytes()


def decode_with_ffmpeg(data: bytes, suffix: str) -> Pictures:
    """All pictures, as RGB of WIDTH x HEIGHT."""
    with tempfile.TemporaryDirectory(prefix="videos-") as folder:
        path = Path(folder, f"video{suffix}")
        path.write_bytes(data)
        scaled = ("-vf", f"scale={WIDTH}:{HEIGHT}", "-pix_fmt", "rgb24")
        raw = run_ffmpeg("-i", str(path), "-map", "0:v:0", "-fps_mode", "passthrough", *scaled, "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


def read_pictures(data: bytes, facts: VideoFacts, order: Sequence[int]) -> list[Pictures | str]:
    """Through one source, as RGB of WIDTH x HEIGHT; the reason where there is no picture."""
    packets = facts.packets or [None] * len(facts.pts)
    pictures: list[Pictures | str] = []
    with VideoSource(io.BytesIO(data)) as source:
        for place in order:
            try:
                frame = source.picture(facts.pts[place], packets[place]).frame
                pictures.append(frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT))
            except MediaUnreadable as error:
                pictures.append(error.reason)
    return pictures


def assert_as_ffmpeg(data: bytes, suffix: str, count: int | None = None) -> VideoFacts:
    """Every picture that FFmpeg shows, and no other: in order, backward, decimated and by a seek of its own."""
    expected, facts = decode_with_ffmpeg(data, suffix), probe_video(io.BytesIO(data))
    total = len(expected)
    assert len(facts.pts) == total == (count or total)
    orders = [range(total), range(total - 1, -1, -1), range(3, total, 7)]
    for order in [*orders, *([place] for place in sorted({0, 1, total // 3, total // 2, total - 1}))]:
        for place, found in zip(order, read_pictures(data, facts, order), strict=True):
            assert not isinstance(found, str), (order, place, found)
            assert media.read_number(found) == media.read_number(expected[place]), (order, place)
            assert np.abs(found.astype(int) - expected[place]).max() <= 16, (order, place)
    return facts

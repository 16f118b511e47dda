"""A source video, all of its pictures: by one thread of the CPU, and by one decoding session of the device. A pass is a
whole video of FRAMES pictures; with no frames the video is made."""

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

import av

from benchmarks.devices.bench import KEPT, Bench
from benchmarks.devices.gate import Luma
from benchmarks.devices.request import Case
from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.driver import DeviceImage, Shaping, VideoCodec
from service.pipeline.cuda.video_stream import VideoStream
from service.pipeline.encode import SegmentEncoder

FRAMES = 60
CODECS: tuple[VideoCodec, ...] = ("h264", "hevc")


def size_of(bench: Bench, case: Case, codec: VideoCodec) -> int:
    """Bytes of a picture, as it is stored."""
    return len(_video(bench, case, codec)) // FRAMES


def by_cpu(bench: Bench, case: Case, codec: VideoCodec, frames: int) -> None:
    video = _video(bench, case, codec)
    for _ in range(frames // FRAMES):
        for _ in _by_ffmpeg(video):
            pass


def by_gpu(bench: Bench, case: Case, codec: VideoCodec, frames: int) -> None:
    """The pictures stay on the device."""
    video = _video(bench, case, codec)
    for _ in range(frames // FRAMES):
        for _ in _by_device(bench, video):
            pass
    if frames:
        bench.driver().synchronise()


def cpu_lumas(bench: Bench, case: Case, codec: VideoCodec, count: int) -> list[Luma]:
    return [planes.views(frame)[0].copy() for frame in islice(_by_ffmpeg(_video(bench, case, codec)), count)]


def gpu_lumas(bench: Bench, case: Case, codec: VideoCodec, count: int) -> list[Luma]:
    """Shaped to what they are, and downloaded."""
    images = list(islice(_by_device(bench, _video(bench, case, codec)), count))
    pictures = bench.driver().shape(images, Shaping(case.size, case.canvas))
    found, _ = bench.driver().download(pictures).wait()
    return [one[: case.canvas[1]].copy() for one in found]


def _video(bench: Bench, case: Case, codec: VideoCodec) -> bytes:
    key = ("video", case, codec)
    if key not in bench.kept:
        shown, encoder = bench.shown(case), SegmentEncoder(replace(case.options(), codec=codec), IMAGE_COLOUR)
        for number in range(FRAMES):
            encoder.add(shown[number % KEPT])
        bench.kept[key] = encoder.finish()
    video: bytes = bench.kept[key]
    return video


def _by_ffmpeg(video: bytes) -> Iterator[av.VideoFrame]:
    with av.open(io.BytesIO(video), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        yield from container.decode(video=0)


def _by_device(bench: Bench, video: bytes) -> Iterator[DeviceImage]:
    with closing(VideoStream(io.BytesIO(video), IMAGE_COLOUR)) as stream:
        for _, image in stream.pictures(bench.driver(), lambda: 0):
            yield image

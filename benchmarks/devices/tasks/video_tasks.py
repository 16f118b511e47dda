"""Decoding of a source video with one CPU thread or one decoder session of the GPU."""

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

import av

from benchmarks.devices.cases import Case
from benchmarks.devices.parity import Luma
from benchmarks.devices.tasks.workbench import CACHED_PICTURES, Workbench
from service.pipeline import planes
from service.pipeline.colour import IMAGE_COLOUR
from service.pipeline.cuda.demux import VideoDemuxer
from service.pipeline.cuda.driver import DeviceImage, TransformSpec, VideoCodec
from service.pipeline.encode.encoder import SegmentEncoder

VIDEO_FRAMES = 60
CODECS: tuple[VideoCodec, ...] = ("h264", "hevc")


def bytes_per_picture(bench: Workbench, case: Case, codec: VideoCodec) -> int:
    """Encoded bytes per picture."""
    return len(_encoded_video(bench, case, codec)) // VIDEO_FRAMES


def decode_on_cpu(bench: Workbench, case: Case, codec: VideoCodec, frames: int) -> None:
    video = _encoded_video(bench, case, codec)
    for _ in range(frames // VIDEO_FRAMES):
        for _ in _decode_with_ffmpeg(video):
            pass


def decode_on_gpu(bench: Workbench, case: Case, codec: VideoCodec, frames: int) -> None:
    """The pictures stay on the device."""
    video = _encoded_video(bench, case, codec)
    for _ in range(frames // VIDEO_FRAMES):
        for _ in _decode_with_device(bench, video):
            pass
    if frames:
        bench.driver().synchronise()


def cpu_lumas(bench: Workbench, case: Case, codec: VideoCodec, count: int) -> list[Luma]:
    return [
        planes.plane_views(frame)[0].copy()
        for frame in islice(_decode_with_ffmpeg(_encoded_video(bench, case, codec)), count)
    ]


def gpu_lumas(bench: Workbench, case: Case, codec: VideoCodec, count: int) -> list[Luma]:
    """Luma of the first pictures, transformed without scaling and downloaded."""
    images = list(islice(_decode_with_device(bench, _encoded_video(bench, case, codec)), count))
    pictures = bench.driver().transform(images, TransformSpec(case.size, case.canvas))
    found, _ = bench.driver().download(pictures).wait()
    return [one[: case.canvas[1]].copy() for one in found]


def _encoded_video(bench: Workbench, case: Case, codec: VideoCodec) -> bytes:
    key = ("video", case, codec)
    if key not in bench.cache:
        shown, encoder = bench.output_frames(case), SegmentEncoder(replace(case.options(), codec=codec), IMAGE_COLOUR)
        for number in range(VIDEO_FRAMES):
            encoder.add(shown[number % CACHED_PICTURES])
        bench.cache[key] = encoder.finish()
    video: bytes = bench.cache[key]
    return video


def _decode_with_ffmpeg(video: bytes) -> Iterator[av.VideoFrame]:
    with av.open(io.BytesIO(video), "r") as container:
        container.streams.video[0].codec_context.thread_count = 1
        yield from container.decode(video=0)


def _decode_with_device(bench: Workbench, video: bytes) -> Iterator[DeviceImage]:
    with closing(VideoDemuxer(io.BytesIO(video), IMAGE_COLOUR)) as stream:
        for _, image in stream.decode(bench.driver(), lambda: 0):
            yield image

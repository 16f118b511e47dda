"""Flat patches keep their RGB within 2 levels in the ffmpeg program and in PyAV, and the file has the right tags."""

import io
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from service.pipeline.encode.assemble import assemble
from service.pipeline.frame_context import FrameWatch
from tests.pipeline.rendering import decode_pictures, numbered_jpegs, options, render
from tests.support.data import media

PATCHES = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 60, 40), (30, 160, 60), (40, 70, 210), (235, 220, 30)]
PATCH = 64


def chart() -> media.Pixels:
    """Seven flat patches side by side, 448 x 64."""
    return np.concatenate([media.flat_picture(colour, PATCH, PATCH) for colour in PATCHES], axis=1)


def patch_error(picture: media.Pixels, source: media.Pixels, scale: float = 1.0) -> int:
    """The largest difference in RGB between the mean levels in the middle of each patch."""
    side = int(PATCH * scale)
    found = [picture[side // 4 : -side // 4, i * side + side // 4 : (i + 1) * side - side // 4] for i in range(7)]
    expected = [source[PATCH // 2, i * PATCH + PATCH // 2] for i in range(7)]
    return round(max(np.abs(s.reshape(-1, 3).mean(0) - m).max() for s, m in zip(found, expected, strict=True)))


def decode_with_ffmpeg(data: bytes, tmp_path: Path, width: int, height: int) -> media.Pixels:
    path = tmp_path / "found.mp4"
    path.write_bytes(data)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path)]
    command += ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("make", [media.jpeg, media.png, media.tiff])
@pytest.mark.parametrize("half", [False, True])
def test_flat_patches_keep_their_rgb(codec: str, make: Any, half: bool, tmp_path: Path) -> None:
    scale = 0.5 if half else 1.0
    width, height = int(448 * scale), int(64 * scale)
    data = render([make(chart())] * 3, codec=codec, width=width, height=height, quality=90).data
    assert patch_error(decode_pictures(data)[0], chart(), scale) <= 2
    assert patch_error(decode_with_ffmpeg(data, tmp_path, width, height), chart(), scale) <= 2


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:2:2", "4:4:4"])
def test_every_subsampling_keeps_its_rgb(subsampling: str) -> None:
    data = render([media.jpeg(chart(), subsampling=subsampling)], width=448, height=64, quality=90).data
    assert patch_error(decode_pictures(data)[0], chart()) <= 2


def test_gray_jpeg_keeps_its_levels() -> None:
    gray = np.concatenate([np.full((64, 64), level, np.uint8) for level in (0, 50, 100, 128, 180, 220, 255)], axis=1)
    data = render([media._encode_picture(gray, "JPEG", quality=95)], width=448, height=64, quality=90).data
    assert patch_error(decode_pictures(data)[0], np.repeat(gray[..., None], 3, axis=2)) <= 2


def test_stream_and_container_say_what_the_numbers_mean(codec: str, tmp_path: Path) -> None:
    segment = render(numbered_jpegs(3), codec=codec).data
    assemble([segment], options(codec=codec), tmp_path / "out.mp4")
    for data in (segment, (tmp_path / "out.mp4").read_bytes()):
        assert b"colrnclx" + bytes([0, 1, 0, 13, 0, 6, 0]) in data
        with av.open(io.BytesIO(data)) as container:
            frame = next(container.decode(video=0))
        assert (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 6, 1, 13)
        assert frame.format.name == "yuv420p"


def test_the_bitstream_alone_carries_the_tags(codec: str) -> None:
    """A decoder that gets packets without the container's colr box still finds the tags."""
    with av.open(io.BytesIO(render(numbered_jpegs(2), codec=codec).data)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
        decoder.extradata = stream.codec_context.extradata
        packets = [av.Packet(bytes(packet)) for packet in container.demux(stream) if packet.size]
        frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    assert (frames[0].color_range, frames[0].colorspace, frames[0].color_trc) == (1, 6, 13)


@pytest.mark.parametrize(("matrix", "tags"), [(1, (1, 1, 1)), (6, (6, 6, 6)), (None, (6, 6, 6))])
def test_a_source_video_keeps_its_tags_and_its_rgb(codec: str, matrix: int | None, tags: tuple[int, ...]) -> None:
    from service.pipeline.segment import render_segment
    from service.plan.render_plan import FrameRef, SegmentPlan
    from tests.pipeline.rendering import MemoryObjects

    given = {} if matrix is None else {"colorspace": matrix, "color_primaries": matrix, "color_trc": matrix}
    store = MemoryObjects({"v.mp4": media.video([chart()] * 4, Fraction(25), color_range=1, **given)})
    settings = options(codec=codec, source_kind="video", width=448, height=64, quality=90)
    plan = SegmentPlan(0, 0, "bucket", settings, (FrameRef(0, "v.mp4", pts=0),))
    data = render_segment(plan, store, store, FrameWatch()).data
    with av.open(io.BytesIO(data)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == tags
    assert patch_error(frame.to_ndarray(format="rgb24"), chart()) <= 3

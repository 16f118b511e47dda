"""MJPEG: JPEGs of the right format and size are copied byte for byte, others are re-encoded, into one stream."""

import io
import struct
import subprocess
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from service.pipeline.encode.assemble import assemble
from tests.pipeline.rendering import numbered_jpegs, options, read_numbers, render
from tests.support.data import media

# FFmpeg 7 prints this for a small JPEG by Pillow even when it reads that file itself.
QUIRK = "EOI missing, emulating"

PLAIN = media.jpeg(media.numbered_picture(5))
NOISE = np.random.default_rng(3).integers(0, 255, (96, 128, 3), np.uint8)


def render_mjpeg(frames: list[bytes | None], form: str = "yuvj420p", **changes: Any) -> Any:
    return render(frames, codec="mjpeg", form=form, **changes)


def split_jpegs(segment: bytes) -> list[bytes]:
    with av.open(io.BytesIO(segment)) as file:
        return [bytes(packet) for packet in file.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("yuvj420p", media.jpeg(NOISE)),
        ("yuvj422p", media.jpeg(NOISE, subsampling="4:2:2")),
        ("yuvj444p", media.jpeg(NOISE, subsampling="4:4:4")),
        ("gray", media._encode_picture(NOISE[..., 0], "JPEG", quality=80)),
        ("yuvj420p", media.jpeg(NOISE, optimize=True, quality=30)),
        ("yuvj420p", media.jpeg(NOISE, restart_marker_rows=2)),
    ],
)
def test_a_jpeg_that_fits_is_copied(form: str, data: bytes) -> None:
    result = render_mjpeg([data], form)
    assert split_jpegs(result.data) == [data]
    assert (result.reports[0].decoder, result.reports[0].outcome) == ("copied", "ok")


def test_what_follows_the_picture_is_left_out() -> None:
    assert split_jpegs(render_mjpeg([PLAIN + b"a second picture or a thumbnail" * 20]).data) == [PLAIN]


@pytest.mark.parametrize(
    ("data", "changes"),
    [
        (PLAIN, {"width": 64, "height": 48}),
        (media.oriented_jpeg(media.numbered_picture(5), 6), {}),
        (media.jpeg(media.numbered_picture(5), progressive=True), {}),
        (media.jpeg(media.numbered_picture(5), subsampling="4:4:4"), {}),
        (media._encode_picture(media.numbered_picture(5)[..., 0], "JPEG"), {}),
        (media.jpeg(media.numbered_picture(5), subsampling="4:4:4", keep_rgb=True), {"form": "yuvj444p"}),
        (media.png(media.numbered_picture(5)), {}),
        (media.tiff(media.numbered_picture(5)), {}),
    ],
)
def test_a_frame_that_does_not_fit_is_encoded(data: bytes, changes: dict[str, Any]) -> None:
    result = render_mjpeg([data, data], **changes)
    assert read_numbers(result.data) == [5, 5]
    assert result.reports[0].decoder not in (None, "copied")
    assert data not in split_jpegs(result.data)


def test_quality_is_only_for_frames_that_are_encoded() -> None:
    copied, scaled = [PLAIN], {"width": 64, "height": 48}
    assert render_mjpeg(copied, quality=10).data == render_mjpeg(copied, quality=95).data
    noise = [media.png(NOISE)]
    assert len(render_mjpeg(noise, quality=10, **scaled).data) < len(render_mjpeg(noise, quality=95, **scaled).data)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_never_copied(keep: float) -> None:
    result = render_mjpeg([PLAIN, media.truncate(media.jpeg(NOISE), keep)], corrupt="hold")
    assert [report.outcome for report in result.reports] == ["ok", "held"]
    assert split_jpegs(result.data) == [PLAIN, PLAIN]


def test_a_thumbnail_is_not_taken_for_the_picture() -> None:
    thumbnail = b"Exif\0\0" + media.jpeg(media.flat_picture((9, 9, 9), 16, 16))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = PLAIN[:2] + segment + PLAIN[2:]
    assert split_jpegs(render_mjpeg([whole]).data) == [whole]
    assert render_mjpeg([PLAIN, whole[: len(whole) - 200]]).reports[1].outcome == "held"


def mixed_frames() -> list[bytes | None]:
    """Copied, encoded, black and held frames."""
    frames = numbered_jpegs(12)
    frames[3] = media.png(media.numbered_picture(3))
    frames[5] = None
    frames[7] = media.oriented_jpeg(media.numbered_picture(7), 3)
    return frames


@pytest.mark.parametrize("container", ["avi", "mov", "mkv"])
def test_copied_and_encoded_frames_are_one_stream(container: str, tmp_path: Path) -> None:
    segments = [render_mjpeg(part, missing="black").data for part in (mixed_frames()[:6], mixed_frames()[6:])]
    out = tmp_path / f"out.{container}"
    assemble(segments, options(codec="mjpeg", form="yuvj420p", container=container), out)
    with av.open(str(out)) as file:
        frames = list(file.decode(video=0))
    assert {frame.format.name for frame in frames} == {"yuvj420p"}
    numbers = [media.read_number(frame.to_ndarray(format="rgb24")) for frame in frames]
    assert numbers == [0, 1, 2, 3, 4, 0, 6, 7, 8, 9, 10, 11]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-i", str(out), "-f", "null", "-"]
    messages = subprocess.run(command, capture_output=True, check=True, text=True).stderr.splitlines()
    assert [line for line in messages if not line.endswith(QUIRK)] == []


def test_black_is_gray_where_the_frames_are() -> None:
    gray = media._encode_picture(media.numbered_picture(5)[..., 0], "JPEG")
    result = render_mjpeg([gray, None, media.png(media.numbered_picture(6))], "gray", missing="black")
    assert {Image.open(io.BytesIO(data)).mode for data in split_jpegs(result.data)} == {"L"}
    assert read_numbers(result.data) == [5, 0, 6]


def test_an_avi_is_as_fiji_reads_it(tmp_path: Path) -> None:
    """Its reader needs a BITMAPINFOHEADER with MJPG and 24 bits, and whole JPEGs in 00dc chunks."""
    out = tmp_path / "out.avi"
    assemble(
        [render_mjpeg(mixed_frames(), missing="black").data],
        options(codec="mjpeg", form="yuvj420p", container="avi"),
        out,
    )
    data = out.read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"AVI "
    header = data.index(b"strf") + 8
    assert struct.unpack_from("<IiiHH4s", data, header) == (40, 128, 96, 1, 24, b"MJPG")
    sizes = []
    position = data.index(b"movi") + 4
    while data[position : position + 4] == b"00dc":
        size = struct.unpack_from("<I", data, position + 4)[0]
        image = Image.open(io.BytesIO(data[position + 8 : position + 8 + size]))
        image.load()
        sizes.append(image.size)
        position += 8 + size + size % 2
    assert sizes == [(128, 96)] * 12


def test_odd_sizes_are_kept_and_copied() -> None:
    data = media.jpeg(NOISE[:95, :127])
    result = render_mjpeg([data, media.png(NOISE[:95, :127])], width=127, height=95)
    assert split_jpegs(result.data)[0] == data
    assert Image.open(io.BytesIO(split_jpegs(result.data)[1])).size == (127, 95)

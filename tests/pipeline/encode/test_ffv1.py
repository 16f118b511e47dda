"""FFV1 keeps every sample bit for bit, with the right colour tags."""

import io
import subprocess
from pathlib import Path
from typing import Any

import av
import imagecodecs
import imageio_ffmpeg
import numpy as np
import pytest
from av import VideoFrame

from service.pipeline import planes
from service.pipeline.orientation import orient
from tests.pipeline.rendering import read_numbers, render
from tests.support.data import media

RANDOM = np.random.default_rng(8)
NOISE = RANDOM.integers(0, 256, (96, 128, 3), np.uint8)
GRAY16_NOISE = RANDOM.integers(0, 65536, (96, 128), np.uint16)
RGB16_NOISE = RANDOM.integers(0, 65536, (96, 128, 3), np.uint16)


def decode_rendered(data: bytes, form: str, **changes: Any) -> VideoFrame:
    """The frame of a one-frame segment."""
    with av.open(io.BytesIO(render([data], codec="ffv1", form=form, corrupt="fail", **changes).data)) as file:
        assert file.streams.video[0].codec_context.codec.canonical_name == "ffv1"
        return next(file.decode(video=0))


def decode_with_ffmpeg(jpeg: bytes) -> VideoFrame:
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"idct": "xvid"}
    return decoder.decode(av.Packet(jpeg))[0]


@pytest.mark.parametrize(("subsampling", "chroma"), [("4:2:0", "420"), ("4:2:2", "422"), ("4:4:4", "444")])
@pytest.mark.parametrize("size", [(128, 96), (127, 95)])
def test_a_jpegs_samples_are_kept(subsampling: str, chroma: str, size: tuple[int, int]) -> None:
    data = media.jpeg(NOISE[: size[1], : size[0]], subsampling=subsampling)
    frame = decode_rendered(data, f"yuvj{chroma}p", width=size[0], height=size[1])
    assert (frame.format.name, frame.color_range, frame.colorspace) == (f"yuv{chroma}p", 2, 6)
    for ours, theirs in zip(planes.plane_views(frame), planes.plane_views(decode_with_ffmpeg(data)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("make", [media.png, media.tiff])
def test_gray_is_kept(make: Any) -> None:
    frame = decode_rendered(make(NOISE[..., 0]), "gray")
    assert (frame.format.name, frame.color_range) == ("gray", 2)
    np.testing.assert_array_equal(frame.to_ndarray(), NOISE[..., 0])


@pytest.mark.parametrize("make", [media.png, media.tiff])
def test_rgb_is_kept(make: Any) -> None:
    frame = decode_rendered(make(NOISE), "bgr0")
    assert (frame.format.name, frame.color_range, frame.colorspace) == ("bgr0", 2, 0)
    np.testing.assert_array_equal(frame.to_ndarray(format="rgb24"), NOISE)


@pytest.mark.parametrize(
    "make",
    [media.tiff, imagecodecs.png_encode, lambda pixels: media.tiff(pixels, compression="deflate", byteorder=">")],
)
def test_16_bit_gray_is_kept(make: Any) -> None:
    frame = decode_rendered(bytes(make(GRAY16_NOISE)), "gray16le")
    assert (frame.format.name, frame.color_range) == ("gray16le", 2)
    np.testing.assert_array_equal(frame.to_ndarray(), GRAY16_NOISE)


def test_16_bit_rgb_is_kept() -> None:
    green, blue, red = planes.plane_views(decode_rendered(imagecodecs.png_encode(RGB16_NOISE), "gbrp16le"))
    np.testing.assert_array_equal(np.dstack([red, green, blue]), RGB16_NOISE)


def test_gray_beside_deeper_or_coloured_frames() -> None:
    gray = media.png(NOISE[..., 0])
    np.testing.assert_array_equal(decode_rendered(gray, "gray16le").to_ndarray(), NOISE[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(
        decode_rendered(gray, "bgr0").to_ndarray(format="rgb24"), np.dstack([NOISE[..., 0]] * 3)
    )
    luma, *chroma = planes.plane_views(decode_rendered(gray, "yuvj420p"))
    np.testing.assert_array_equal(luma, NOISE[..., 0])
    assert {int(level) for plane in chroma for level in np.unique(plane)} == {128}


@pytest.mark.parametrize("form", ["gray", "gray16le", "bgr0", "gbrp16le", "yuvj420p", "yuvj444p"])
def test_black_and_padding_are_black_in_every_form(form: str) -> None:
    frames = [
        media.png(media.flat_picture((0, 0, 0), 128, 96)),
        media.png(media.flat_picture((255, 255, 255), 64, 96)),
        None,
    ]
    data = render(frames, codec="ffv1", form=form, missing="black").data
    with av.open(io.BytesIO(data)) as file:
        real, padded, black = (frame.to_ndarray(format="gray") for frame in file.decode(video=0))
    assert real.max() <= 1 and black.max() <= 1
    assert padded[:, :30].max() <= 1 and padded[:, -30:].max() <= 1 and padded[:, 40:-40].min() >= 254


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["gray", "bgr0", "gray16le", "yuvj444p"])
def test_turning_is_exact(form: str, orientation: int) -> None:
    upright = np.dstack([np.repeat(np.repeat(NOISE[:12, :16, 0], 8, axis=0), 8, axis=1)] * 3)
    stored = np.asarray(decode_with_ffmpeg(media.oriented_jpeg(upright, orientation)).to_ndarray(format="gray"))
    rendered = decode_rendered(media.oriented_jpeg(upright, orientation), form).to_ndarray(format="gray")
    expected = orient(stored, orientation)
    assert np.abs(rendered.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2), (3, 5), (31, 31), (33, 7), (64, 64), (65, 63), (127, 129), (639, 483)]
)
@pytest.mark.parametrize("form", ["gray", "yuvj420p", "gray16le"])
def test_every_size(form: str, size: tuple[int, int]) -> None:
    pixels = np.resize(NOISE[..., 0], (size[1], size[0]))
    frame = decode_rendered(media.png(pixels), form, width=size[0], height=size[1])
    assert (frame.width, frame.height) == size
    np.testing.assert_array_equal(
        planes.plane_views(frame)[0], pixels.astype(np.uint16) * 257 if form == "gray16le" else pixels
    )


def test_damage_is_noticed_by_any_decoder(tmp_path: Path) -> None:
    """Each slice has a checksum."""
    data = bytearray(render([media.png(NOISE)], codec="ffv1", form="bgr0").data)
    data[-2000] ^= 1
    (tmp_path / "damaged.mp4").write_bytes(data)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "damaged.mp4"), "-f", "null", "-"]
    assert "CRC mismatch" in subprocess.run(command, capture_output=True, text=True).stderr


def test_frames_are_in_order() -> None:
    frames: list[bytes | None] = [media.png(media.numbered_picture(number)) for number in range(9)]
    assert read_numbers(render(frames, codec="ffv1", form="bgr0").data) == list(range(9))

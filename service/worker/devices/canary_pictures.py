"""Known pictures for canaries, and the checks against them.

The pictures are computed, each differs from the next, and they have edges, ramps, texture and colour."""

import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from av import VideoFrame

from service.devices.canary import WrongOutput

WIDTH, HEIGHT = 960, 540
FRAME_MEGAPIXELS = WIDTH * HEIGHT / 1e6
# How many different pictures a canary uses.
DECODED_FRAMES = 6
Pixels = np.ndarray[Any, np.dtype[Any]]


@functools.cache
def picture(number: int) -> Pixels:
    """(540, 960, 3) uint8 R'G'B'. A square moves by 72 pixels from one picture to the next."""
    rows, columns = np.arange(HEIGHT, dtype=np.float32)[:, None], np.arange(WIDTH, dtype=np.float32)[None, :]
    waves = 12 * np.sin(columns / 7 + number) + 10 * np.sin(rows / 11)
    pixels = np.stack([waves + (96 + columns / 12), waves + (72 + rows / 6), waves + (150 - columns / 15)], axis=2)
    left = 48 + 72 * (number % 12)
    pixels[150:300, left : left + 96] += (60, -20, -60)
    rgb: Pixels = pixels.astype(np.uint8)
    return rgb


def deep_picture(number: int) -> Pixels:
    """(540, 960) uint16, gray."""
    return picture(number)[..., 1].astype(np.uint16) * 211 + np.arange(WIDTH, dtype=np.uint16)


def jpeg(pixels: Pixels) -> bytes:
    """Encoded by libjpeg-turbo, 4:2:0."""
    import imagecodecs

    return bytes(imagecodecs.jpeg8_encode(pixels, level=92, subsampling="420"))


def png(pixels: Pixels) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.png_encode(pixels, level=1))


def tiff(pixels: Pixels) -> bytes:
    import tifffile

    out = io.BytesIO()
    tifffile.imwrite(out, pixels, photometric="minisblack", compression="deflate", compressionargs={"level": 1})
    return out.getvalue()


def yuv(number: int) -> VideoFrame:
    """`picture` as limited-range BT.601 4:2:0."""
    frame = VideoFrame.from_ndarray(picture(number), format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=5, dst_color_range=1)


@functools.cache
def luma(number: int) -> Pixels:
    """(540, 960) float32, 0 to 255: BT.601 luma of `picture`, computed without a codec."""
    weighted: Pixels = picture(number).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return weighted


def require_similar(actual: Pixels, expected: Pixels, min_psnr: float) -> None:
    """Raises WrongOutput for another size, or a peak signal-to-noise ratio below `min_psnr` (dB)."""
    if actual.shape != expected.shape:
        raise WrongOutput(
            f"{actual.shape[1]}x{actual.shape[0]} pixels instead of {expected.shape[1]}x{expected.shape[0]}"
        )
    error = float(np.mean((actual.astype(np.float32) - expected.astype(np.float32)) ** 2))
    psnr = 10 * np.log10(255**2 / error) if error else np.inf
    if psnr < min_psnr:
        raise WrongOutput(f"{psnr:.1f} dB from the known picture, at least {min_psnr:g} dB required")


def require_equal(actual: Pixels, expected: Pixels) -> None:
    """Raises WrongOutput for any difference."""
    if actual.shape != expected.shape or not np.array_equal(actual, expected):
        raise WrongOutput("the output of a lossless codec differs from its input")


def require_frames(luma_frames: Sequence[Pixels], count: int, min_psnr: float) -> None:
    """Check full-range luma of frames 0, 1, ... of the known pictures, repeated. Raises WrongOutput."""
    if len(luma_frames) != count:
        raise WrongOutput(f"{len(luma_frames)} frames instead of {count}")
    for number, levels in enumerate(luma_frames):
        require_similar(levels, luma(number % DECODED_FRAMES), min_psnr)


def to_full_range(limited: Pixels) -> Pixels:
    """Luma of limited range (16 to 235) -> float32, 0 to 255."""
    return (limited.astype(np.float32) - 16) * np.float32(255 / 219)

"""The expected results of the kernels, computed in NumPy and float64 by other means: levels before rounding.

Sources: ITU-R BT.601-7 and BT.709-6 (luma coefficients, colour differences, 8-bit quantisation); ITU-T H.273,
MatrixCoefficients (full range). An area average over a/b pixels is the plain average after each
pixel is repeated b times.
"""

from typing import Any

import numpy as np

from kernels.geometry import CropBox

Array = np.ndarray[Any, Any]

LUMA = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}


def crop_and_rotate(planes: Array, crop: CropBox | None, turn: int) -> Array:
    """(..., H, W), cropped and then rotated clockwise."""
    if crop:
        top, left, height, width = crop
        planes = planes[..., top : top + height, left : left + width]
    for _ in range(turn // 90):
        planes = np.swapaxes(planes[..., ::-1, :], -1, -2)
    return planes


def average_area(planes: Array, size: tuple[int, int]) -> Array:
    """(..., H, W) -> (..., h, w)."""
    for axis, out in ((-2, size[0]), (-1, size[1])):
        planes = np.moveaxis(planes.astype(np.float64), axis, -1)
        planes = np.repeat(planes, out, -1).reshape(*planes.shape[:-1], out, planes.shape[-1]).mean(-1)
        planes = np.moveaxis(planes, -1, axis)
    return planes


def pad_to_even(planes: Array) -> Array:
    height, width = planes.shape[-2:]
    return np.pad(planes, [(0, 0)] * (planes.ndim - 2) + [(0, height % 2), (0, width % 2)], mode="edge")


def average_2x2(planes: Array) -> Array:
    """(..., H, W) -> (..., H/2, W/2): the mean of 2 x 2, which is where centred chroma lies."""
    return (planes[..., ::2, ::2] + planes[..., 1::2, ::2] + planes[..., ::2, 1::2] + planes[..., 1::2, 1::2]) / 4


def rgb_to_nv12_levels(rgb: Array, matrix: str, full_range: bool) -> tuple[Array, Array]:
    """(N, 3, h, w) of 0..255 -> luma (N, H, W) and chroma (N, H/2, W/2, 2), for the even H and W."""
    red, green, blue = np.moveaxis(pad_to_even(rgb) / 255, 1, 0)
    of_red, of_green, of_blue = LUMA[matrix]
    luma = of_red * red + of_green * green + of_blue * blue
    cb, cr = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    chroma = np.stack([average_2x2(cb), average_2x2(cr)], -1)
    return (255 * luma, 255 * chroma + 128) if full_range else (219 * luma + 16, 224 * chroma + 128)


def scale_nv12_levels(luma: Array, chroma: Array, crop: Any, turn: int, size: Any, narrow: bool) -> tuple[Array, Array]:
    """NV12 by way of full-size chroma: every pixel takes the sample above it, and 2 x 2 pixels are averaged at the end."""
    full = np.repeat(np.repeat(np.moveaxis(chroma, -1, 1), 2, -1), 2, -2)
    planes = crop_and_rotate(np.concatenate([luma[:, None], full], 1), crop, turn)
    planes = pad_to_even(average_area(planes, size or planes.shape[-2:]))
    levels, chroma = planes[:, 0], np.moveaxis(average_2x2(planes[:, 1:]), 1, -1)
    if narrow:
        return 16 + levels * 219 / 255, 128 + (chroma - 128) * 224 / 255
    return levels, chroma


def reduce_bins(frames: Array, count: int, how: str) -> Array:
    groups = [frames[start : start + count] for start in range(0, len(frames), count)]
    return np.stack([group.max(0) if how == "max" else group.astype(np.float64).mean(0) for group in groups])


def brightest_chroma(luma: Array, chroma: Array, count: int) -> Array:
    """Chroma of bins: each pair from the first frame with the largest sum of its four luma samples."""
    bright = average_2x2(luma.astype(np.int64) * 4)
    chosen = []
    for start in range(0, len(luma), count):
        first = bright[start : start + count].argmax(0)
        rows, columns = np.indices(first.shape)
        chosen.append(chroma[start : start + count][first, rows, columns])
    return np.stack(chosen)


def apply_window(samples: Array, low: float, high: float) -> Array:
    """float32 0..1, linear in the samples."""
    with np.errstate(invalid="ignore", over="ignore"):
        value = (samples.astype(np.float32) - np.float32(low)) * np.float32(1 / (high - low))
    return np.clip(np.where(np.isnan(value), np.float32(0), value), np.float32(0), np.float32(1))


def unambiguous_samples(level: Array, table: Array | None) -> tuple[Array, Array]:
    """The luma and chroma samples that do not depend on how a level between two table entries is rounded."""
    place = level * (0 if table is None else len(table) - 1) + 0.5
    clear = pad_to_even(np.abs(place - np.rint(place)) > 1e-3)
    clear = clear if level.ndim == 3 else clear.all(1)
    return clear, np.repeat((average_2x2(clear.astype(float)) == 1)[..., None], 2, -1)


def apply_lut(level: Array, table: Array | None) -> Array:
    """(N, H, W) or (N, 3, H, W) of 0..1 -> (N, 3, H, W) of 0..255."""
    if table is None:
        return 255.0 * (level if level.ndim == 4 else np.repeat(level[:, None], 3, 1))
    entry = np.floor(level * np.float32(len(table) - 1) + np.float32(0.5)).astype(int)
    return np.moveaxis(table[entry], -1, 1).astype(np.float64)

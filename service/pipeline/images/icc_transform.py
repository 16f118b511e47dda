"""Samples of an ICC profile -> sRGB: relative colorimetric, without black point compensation, by lcms2 (imagecodecs).

lcms2 converts 8-bit samples exactly enough, but 16-bit ones through a table of 33 x 33 x 33 colours, which is up to 16
levels of 255 off at the border of sRGB, or 5 times slower without it. So the curves and the matrix of a profile are
read out of lcms2 once, and 16-bit samples are computed from these. Profiles with tables instead take the slow way.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from service.pipeline.picture import Samples

_RELATIVE_COLORIMETRIC, _NO_FLAGS, _NO_OPTIMISATION = 1, 0, 0x100
_REMEMBERED = 16
# Intervals of light that sRGB's curve is tabulated at: its steepest part takes 3 of 65,535 levels a step.
_LIGHT_STEPS = (1 << 18) - 1
# Pixels that are converted at once: their planes stay in the second-level cache.
_BLOCK = 1 << 15
_MATRIX_TOLERANCE, _GRID_LEVELS = 1e-4, 5


def gray_to_srgb(samples: Samples, profile: bytes) -> Samples:
    """(height, width) -> the same shape and type, unsigned 8 or 16 bits. Raises CmsError for a damaged profile."""
    converted: Samples = gray_table(profile, samples.dtype.str)[samples]
    return converted


def rgb_to_srgb(samples: Samples, profile: bytes) -> Samples:
    """(height, width, 3) -> the same shape and type, unsigned 8 or 16 bits. Raises CmsError for a damaged profile."""
    if samples.dtype.itemsize == 1:
        return _transform(samples, profile, "rgb", _NO_FLAGS)
    matrix = _read_matrix(profile)
    if matrix is None:
        return _transform(samples, profile, "rgb", _NO_OPTIMISATION)
    return _apply_matrix(samples, matrix)


@lru_cache(maxsize=_REMEMBERED)
def gray_table(profile: bytes, dtype: str) -> Samples:
    """sRGB's level for each level of the profile, of that type. Raises CmsError for a damaged profile."""
    kind = np.dtype(dtype)
    levels = np.arange(1 << 8 * kind.itemsize, dtype=kind)[None]
    return np.ascontiguousarray(_transform(levels, profile, "gray", _NO_OPTIMISATION)[0, :, 1])


class _Matrix(NamedTuple):
    """Light of each channel for 65,536 levels, float32; `mixing[k]` is how much of it each channel of sRGB gets."""

    curves: tuple[Samples, Samples, Samples]
    mixing: Samples


@lru_cache(maxsize=_REMEMBERED)
def _read_matrix(profile: bytes) -> _Matrix | None:
    """The curves and the matrix to sRGB's primaries; None if the profile has no such."""
    curves, columns = [], []
    for channel in range(3):
        ramp = np.zeros((1, 1 << 16, 3), np.uint16)
        ramp[0, :, channel] = np.arange(1 << 16)
        light = _to_light(ramp, profile)[0].astype(np.float64)
        columns.append(light[-1])
        curves.append(light @ light[-1] / max(light[-1] @ light[-1], 1e-9))
    levels = np.linspace(0, 65535, _GRID_LEVELS).astype(np.uint16)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    predicted = sum(curves[channel][grid[0, :, channel], None] * columns[channel] for channel in range(3))
    if not np.abs(predicted - _to_light(grid, profile)[0]).max() <= _MATRIX_TOLERANCE:
        return None
    red, green, blue = (curve.astype(np.float32) for curve in curves)
    return _Matrix((red, green, blue), np.array(columns, np.float32))


def _apply_matrix(samples: Samples, matrix: _Matrix) -> Samples:
    encode = _srgb_levels()
    flat = samples.reshape(-1, 3)
    converted = np.empty_like(flat, order="C")
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK]
        light = [matrix.curves[channel][block[:, channel]] for channel in range(3)]
        for target in range(3):
            mixed = light[0] * matrix.mixing[0, target]
            mixed += light[1] * matrix.mixing[1, target]
            mixed += light[2] * matrix.mixing[2, target]
            mixed *= _LIGHT_STEPS
            mixed += 0.5
            np.clip(mixed, 0, _LIGHT_STEPS, out=mixed)
            converted[start : start + _BLOCK, target] = encode[mixed.astype(np.int32)]
    return converted.reshape(samples.shape)


@lru_cache(maxsize=1)
def _srgb_levels() -> Samples:
    """The 16-bit level for light in steps of 1 / _LIGHT_STEPS (IEC 61966-2-1)."""
    light = np.arange(_LIGHT_STEPS + 1) / _LIGHT_STEPS
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    levels: Samples = np.rint(value * 65535).astype(np.uint16)
    return levels


def _to_light(samples: Samples, profile: bytes) -> Samples:
    """(1, count, 3) of uint16 -> light of sRGB's primaries, float32; below 0 or above 1 for colours outside of it."""
    return _transform(samples, profile, "rgb", _NO_OPTIMISATION, light=True)


def _transform(samples: Samples, profile: bytes, space: str, flags: int, *, light: bool = False) -> Samples:
    """(height, width[, 3]) -> (height, width, 3) of the same type, or `light`."""
    import imagecodecs  # 30 MB that ordinary JPEGs do not need

    converted: Samples = imagecodecs.cms_transform(
        np.ascontiguousarray(samples),
        profile,
        _linear_profile() if light else _srgb_profile(),
        colorspace=space,
        outcolorspace="rgb",
        outdtype=np.dtype(np.float32) if light else None,
        intent=_RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    return converted


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))


@lru_cache(maxsize=1)
def _linear_profile() -> bytes:
    """sRGB's primaries with a gamma of 1."""
    import imagecodecs

    primaries, white = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06), (0.3127, 0.3290)
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, gamma=1.0))

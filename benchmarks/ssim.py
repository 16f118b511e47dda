"""Structural similarity of YCbCr pictures, as FFmpeg's `ssim` filter computes it.

Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004;
8x8 windows every 4 samples, mean over windows, planes weighted by their size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Plane = np.ndarray[Any, np.dtype[np.float32]]
C1, C2 = (0.01 * 255) ** 2 * 64, (0.03 * 255) ** 2 * 64 * 63


def ssim(picture: Sequence[Plane], reference: Sequence[Plane]) -> float:
    """SSIM over all planes of two pictures of the same size; 1 if they are identical."""
    sizes = [plane.size for plane in reference]
    values = [plane_ssim(one, other) for one, other in zip(picture, reference, strict=True)]
    return float(np.average(values, weights=sizes))


def plane_ssim(one: Plane, other: Plane) -> float:
    """SSIM of two (height, width) planes of levels 0 to 255, at least 8x8; a remainder below 4 samples is ignored."""
    s1, s2 = _window_sums(one), _window_sums(other)
    squares, product = _window_sums(one * one + other * other), _window_sums(one * other)
    variances = squares * 64 - s1 * s1 - s2 * s2
    covariance = product * 64 - s1 * s2
    values = (2 * s1 * s2 + C1) * (2 * covariance + C2) / ((s1 * s1 + s2 * s2 + C1) * (variances + C2))
    return float(values.mean())


def _window_sums(plane: Plane) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sums over 8x8 windows, 4 samples apart."""
    height, width = plane.shape[0] // 4, plane.shape[1] // 4
    blocks = plane[: height * 4, : width * 4].reshape(height, 4, width, 4).sum(axis=(1, 3), dtype=np.float64)
    sums: np.ndarray[Any, np.dtype[np.float64]] = blocks[:-1, :-1] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[1:, 1:]
    return sums

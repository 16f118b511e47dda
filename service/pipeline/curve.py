"""The other half of a tone: 16-bit positions -> gamma -> colormap -> limited-range YCbCr, by one table."""

from typing import Any

import numpy as np
from av import VideoFrame

from service.pipeline.colormaps import Table, colormap
from service.pipeline.planes import view
from service.pipeline.window import TOP, Positions
from service.plan.tone import Tone

_BT601 = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""ITU-R BT.601, R'G'B' to Y'CbCr: the matrix that image frames are written with."""

_NEUTRAL = 128
_ROWS = 128
"""Rows looked up at once: NumPy widens their indexes to 64 bits, which then stay in the cache."""

Index = np.ndarray[Any, Any]
Packed = np.ndarray[Any, np.dtype[np.uint32]]


class Curve:
    """`levels` (65536,) uint8 is the gray or channel level of each position, before the colormap."""

    def __init__(self, tone: Tone) -> None:
        share = (np.arange(65536, dtype=np.float64) / TOP) ** tone.gamma
        self.levels: Table = np.rint((1 - share if tone.inverse else share) * 255).astype(np.uint8)
        yuv = _yuv(colormap(tone.colormap))[self.levels]
        self._luma = np.ascontiguousarray(yuv[:, 0]).astype(np.uint8)
        self._chroma = _packed(yuv[:, 1], yuv[:, 2])
        self._gray = tone.colormap == "gray"

    def through(self, positions: Positions) -> "CurveTable":
        """The table for samples whose position is `positions[sample]`, (N,)."""
        return CurveTable(self._luma[positions], None if self._gray else self._chroma[positions])


class CurveTable:
    """Sample -> Y, and Cb | Cr << 16 (None: neutral). Samples are unsigned indexes within the tables."""

    def __init__(self, luma: Table, chroma: Packed | None) -> None:
        self._luma, self._chroma = luma, chroma

    def frame(self, samples: Index) -> VideoFrame:
        """(height, width) samples -> limited-range yuv420p; a chroma sample is the mean of its four, rounded."""
        height, width = samples.shape
        frame = VideoFrame(width, height, "yuv420p")
        for row in range(0, height, _ROWS):
            part = samples[row : row + _ROWS]
            np.take(self._luma, part, out=view(frame.planes[0])[row : row + _ROWS], mode="clip")
            if self._chroma is not None:
                blue, red = _mean_of_four(np.take(self._chroma, part, mode="clip"))
                view(frame.planes[1])[row // 2 : row // 2 + len(blue)] = blue
                view(frame.planes[2])[row // 2 : row // 2 + len(red)] = red
        if self._chroma is None:
            for plane in frame.planes[1:]:
                view(plane)[:] = _NEUTRAL
        return frame


def _packed(blue: Table, red: Table) -> Packed:
    packed: Packed = blue + red * np.uint32(1 << 16)
    return packed


def _yuv(rgb: Table) -> Table:
    """(256, 3) full-range R'G'B' -> limited-range Y'CbCr, rounded."""
    full = rgb.astype(np.float64) @ _BT601.T / 255
    limited: Table = np.rint(full * (219, 224, 224) + (16, 128, 128)).astype(np.uint8)
    return limited


def _mean_of_four(packed: Packed) -> tuple[Index, Index]:
    """An odd last row or column counts twice."""
    odd = packed.shape[0] % 2, packed.shape[1] % 2
    if any(odd):
        packed = np.pad(packed, ((0, odd[0]), (0, odd[1])), mode="edge")
    pairs = packed[0::2] + packed[1::2]
    sums = pairs[:, 0::2] + pairs[:, 1::2]
    return (sums + 2 & 0xFFFF) >> 2, (sums >> 16) + 2 >> 2

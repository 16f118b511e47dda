"""The other half of a tone: place in the window -> gamma -> colormap -> limited-range YCbCr, by one table."""

from typing import Any

import numpy as np
from av import VideoFrame

from service.pipeline.colormaps import LookupTable, colormap
from service.pipeline.planes import plane_view
from service.pipeline.window import MAX_POSITION, Positions, SampleArray
from service.plan.tone import Tone

PackedYuv = np.ndarray[Any, np.dtype[np.uint32]]
_BT601 = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""ITU-R BT.601, R'G'B' to Y'CbCr: the matrix that image frames are written with."""

_NEUTRAL = 128
_BLOCK_ROWS = 128
"""Rows looked up at once: NumPy widens their indexes to 64 bits, which then stay in the cache."""


class ToneLut:
    """`levels` (65536,) uint8 is the gray or channel level of each position, before the colormap."""

    def __init__(self, tone: Tone) -> None:
        share = (np.arange(65536, dtype=np.float64) / MAX_POSITION) ** tone.gamma
        self.levels: LookupTable = np.rint((1 - share if tone.inverse else share) * 255).astype(np.uint8)
        luma, blue, red = _to_limited_yuv(colormap(tone.colormap))[self.levels].T
        self._luma = np.ascontiguousarray(luma)
        self._packed: PackedYuv = luma * np.uint32(1 << 24) + red * np.uint32(1 << 12) + blue
        self._gray = tone.colormap == "gray"

    def compose(self, positions: Positions) -> "LumaLut | YuvLut":
        """The table for samples whose position is `positions[sample]`, (N,)."""
        return LumaLut(self._luma[positions]) if self._gray else YuvLut(self._packed[positions])


class LumaLut:
    """Sample -> Y. Samples are unsigned indexes within the table."""

    def __init__(self, luma: LookupTable) -> None:
        self._luma = luma

    def to_frame(self, samples: SampleArray) -> VideoFrame:
        """(height, width) samples -> limited-range yuv420p."""
        frame = VideoFrame(samples.shape[1], samples.shape[0], "yuv420p")
        for row in range(0, len(samples), _BLOCK_ROWS):
            part = slice(row, row + _BLOCK_ROWS)
            np.take(self._luma, samples[part], out=plane_view(frame.planes[0])[part], mode="clip")
        for plane in frame.planes[1:]:
            plane_view(plane)[:] = _NEUTRAL
        return frame


class YuvLut:
    """Sample -> Y << 24 | Cr << 12 | Cb, so that four of them can be summed at once; the sum of Y is not wanted."""

    def __init__(self, packed: PackedYuv) -> None:
        self._packed = packed

    def to_frame(self, samples: SampleArray) -> VideoFrame:
        """(height, width) samples -> limited-range yuv420p; a chroma sample is the mean of its four, rounded."""
        frame = VideoFrame(samples.shape[1], samples.shape[0], "yuv420p")
        luma, blue, red = (plane_view(plane) for plane in frame.planes)
        for row in range(0, len(samples), _BLOCK_ROWS):
            packed = np.take(self._packed, samples[row : row + _BLOCK_ROWS], mode="clip")
            luma[row : row + _BLOCK_ROWS] = packed >> np.uint32(24)
            sums = _sum_2x2(packed)
            half = slice(row // 2, row // 2 + len(sums))
            blue[half] = ((sums + 2) & 0xFFF) >> 2
            red[half] = (((sums >> 12) + 2) & 0xFFF) >> 2
        return frame


def _to_limited_yuv(rgb: LookupTable) -> LookupTable:
    """(256, 3) full-range R'G'B' -> limited-range Y'CbCr, rounded."""
    full = rgb.astype(np.float64) @ _BT601.T / 255
    limited: LookupTable = np.rint(full * (219, 224, 224) + (16, 128, 128)).astype(np.uint8)
    return limited


def _sum_2x2(packed: PackedYuv) -> PackedYuv:
    """Over 2 x 2 samples; an odd last row or column counts twice."""
    odd = packed.shape[0] % 2, packed.shape[1] % 2
    if any(odd):
        packed = np.pad(packed, ((0, odd[0]), (0, odd[1])), mode="edge")
    pairs = (packed[0::2] + packed[1::2]).view(np.uint64)
    sums: PackedYuv = (pairs + (pairs >> np.uint64(32))).astype(np.uint32)
    return sums

"""Applies a render's tone to frames: window, area average, then gamma and colormap by lookup table.

Frames are scaled before gamma and colormap, in the samples' own unit: four pixels shown as one get their mean,
and a hot pixel counts no more than the brightest value of the window.
"""

from typing import Any

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline.picture import ClipCounts, Picture, Samples, empty_frame, samples_view, to_frame
from service.pipeline.planes import plane_view
from service.pipeline.tone.colormaps import LookupTable, colormap
from service.pipeline.tone.window import MAX_POSITION, Positions, Stretch, Window
from service.plan.tone import Tone

PackedYuv = np.ndarray[Any, np.dtype[np.uint32]]
# ITU-R BT.601, R'G'B' to Y'CbCr: the matrix that image frames are written with.
_BT601 = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])

_NEUTRAL = 128
# Rows looked up at once: NumPy widens their indexes to 64 bits, which then stay in the cache.
_BLOCK_ROWS = 128


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

    def to_frame(self, samples: Samples) -> VideoFrame:
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

    def to_frame(self, samples: Samples) -> VideoFrame:
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


_IDENTITY = np.arange(65536, dtype=np.uint16)


class ToneMapper:
    """One for a segment: its tables are made once."""

    def __init__(self, tone: Tone) -> None:
        self._window, self._lut = Window(tone.low, tone.high), ToneLut(tone)
        self._gray_formats = ("gray", "gray16le") if tone.shallow else ("gray16le",)
        self._positions = self._window.lookup_table()
        self._sample_lut = self._lut.compose(self._positions)
        self._position_lut = self._lut.compose(_IDENTITY)
        self._stretch = Stretch(self._window)
        self._stretched_lut = self._lut.compose(self._stretch.lookup_table())
        self._stretched_levels = self._lut.levels[self._stretch.lookup_table()]
        self._scaler = VideoReformatter()

    def applies_to(self, picture: Picture) -> bool:
        return picture.frame.format.name in (*self._gray_formats, "rgb48le")

    def count_clipped(self, picture: Picture) -> ClipCounts | None:
        """What of the frame lies outside the window; None for a frame that is shown as it is."""
        if picture.clip_counts is not None or not self.applies_to(picture):
            return picture.clip_counts
        samples = samples_view(picture.frame)
        assert samples is not None
        return self._window.count_clipped(samples)

    def map_gray(self, picture: Picture, width: int, height: int) -> VideoFrame:
        """Limited-range yuv420p of this size, from gray samples."""
        samples = samples_view(picture.frame)
        assert samples is not None
        if (picture.frame.width, picture.frame.height) == (width, height):
            return (self._position_lut if picture.clip_counts else self._sample_lut).to_frame(samples)
        if picture.clip_counts:
            return self._scale_and_map(picture.frame, self._position_lut, width, height)
        frame, stretched = empty_frame(samples)
        self._stretch.map_into(samples, stretched)
        return self._scale_and_map(frame, self._stretched_lut, width, height)

    def map_rgb(self, picture: Picture, width: int, height: int) -> VideoFrame:
        """rgb24 of this size, each channel through window, area average and gamma."""
        samples = samples_view(picture.frame)
        assert samples is not None
        if (picture.frame.width, picture.frame.height) == (width, height):
            levels = self._lut.levels if picture.clip_counts else self._lut.levels[self._positions]
            return to_frame(np.take(levels, samples, mode="clip"))
        if picture.clip_counts:
            return to_frame(np.take(self._lut.levels, self._scale_channels(samples, width, height)))
        _, stretched = empty_frame(samples)
        self._stretch.map_into(samples, stretched)
        return to_frame(np.take(self._stretched_levels, self._scale_channels(stretched, width, height)))

    def _scale_channels(self, samples: Samples, width: int, height: int) -> Samples:
        """Scaled one by one: swscale would take RGB through YCbCr."""
        scaled = (samples_view(self._scale(to_frame(samples[..., each]), width, height)) for each in range(3))
        return np.stack([channel for channel in scaled if channel is not None], axis=-1)

    def _scale_and_map(self, frame: VideoFrame, table: LumaLut | YuvLut, width: int, height: int) -> VideoFrame:
        samples = samples_view(self._scale(frame, width, height))
        assert samples is not None
        return table.to_frame(samples)

    def _scale(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        shrinks = width * height <= frame.width * frame.height
        kernel = Interpolation.AREA if shrinks else Interpolation.BICUBIC
        return self._scaler.reformat(frame, width, height, "gray16le", interpolation=kernel, threads=1)

"""Applies a render's tone to frames: window, area average, then gamma and colormap by lookup table.

Frames are scaled between window and gamma: pixels that are shown as one are averaged as samples, and a hot pixel
counts no more than the brightest value of the window.
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
# ITU-R BT.601, R'G'B' to Y'CbCr: the matrix of all image frames.
_BT601 = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_NEUTRAL = 128
# Rows looked up at once, so that their indexes, which NumPy widens to 64 bits, stay in the CPU cache.
_BLOCK_ROWS = 128
_IDENTITY = np.arange(65536, dtype=np.uint16)


class ToneLut:
    """Lookup tables from window position to display level and to Y'CbCr.

    `levels` (65536,) uint8 is the level of gray or of a colour channel, after gamma and before the colormap.
    `full_range_gray`: gray becomes full-range gray instead of Y'CbCr.
    """

    def __init__(self, tone: Tone, *, full_range_gray: bool = False) -> None:
        share = (np.arange(65536, dtype=np.float64) / MAX_POSITION) ** tone.gamma
        self.levels: LookupTable = np.rint((1 - share if tone.inverse else share) * 255).astype(np.uint8)
        full_range = colormap(tone.colormap).astype(np.float64) @ _BT601.T / 255
        limited = np.rint(full_range * (219, 224, 224) + (16, 128, 128)).astype(np.uint8)
        luma, blue, red = limited[self.levels].T
        self._luma = self.levels if full_range_gray else np.ascontiguousarray(luma)
        self._gray_format = "gray" if full_range_gray else "yuv420p"
        self._packed: PackedYuv = luma * np.uint32(1 << 24) + red * np.uint32(1 << 12) + blue
        self._gray = tone.colormap == "gray"

    def compose(self, positions: Positions) -> "LumaLut | YuvLut":
        """The table for samples whose window position is `positions[sample]`, (N,)."""
        if self._gray:
            return LumaLut(self._luma[positions], self._gray_format)
        return YuvLut(self._packed[positions])


class LumaLut:
    """A table from samples, which are its indexes, to Y or gray."""

    def __init__(self, luma: LookupTable, pixel_format: str) -> None:
        self._luma, self._pixel_format = luma, pixel_format

    def to_frame(self, samples: Samples) -> VideoFrame:
        """(height, width) samples -> limited-range yuv420p, or full-range gray."""
        frame = VideoFrame(samples.shape[1], samples.shape[0], self._pixel_format)
        for row in range(0, len(samples), _BLOCK_ROWS):
            part = slice(row, row + _BLOCK_ROWS)
            np.take(self._luma, samples[part], out=plane_view(frame.planes[0])[part], mode="clip")
        for plane in frame.planes[1:]:
            plane_view(plane)[:] = _NEUTRAL
        return frame


class YuvLut:
    """A table from samples to Y << 24 | Cr << 12 | Cb: four entries can be added without overflow of Cr and Cb."""

    def __init__(self, packed: PackedYuv) -> None:
        self._packed = packed

    def to_frame(self, samples: Samples) -> VideoFrame:
        """(height, width) samples -> limited-range yuv420p; chroma is the rounded mean of 2 x 2 samples."""
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


def _sum_2x2(packed: PackedYuv) -> PackedYuv:
    """Sums of 2 x 2 entries; an odd last row or column counts twice."""
    odd = packed.shape[0] % 2, packed.shape[1] % 2
    if any(odd):
        packed = np.pad(packed, ((0, odd[0]), (0, odd[1])), mode="edge")
    pairs = (packed[0::2] + packed[1::2]).view(np.uint64)
    sums: PackedYuv = (pairs + (pairs >> np.uint64(32))).astype(np.uint32)
    return sums


class ToneMapper:
    """Applies one tone. Its tables are built once per segment."""

    def __init__(self, tone: Tone, *, full_range_gray: bool = False) -> None:
        self._window, self._lut = Window.of(tone), ToneLut(tone, full_range_gray=full_range_gray)
        self._gray_formats = ("gray", "gray16le") if tone.shallow else ("gray16le",)
        self._positions = self._window.lookup_table()
        self._sample_lut = self._lut.compose(self._positions)
        self._position_lut = self._lut.compose(_IDENTITY)
        self._stretch = Stretch(self._window)
        self._stretched_lut = self._lut.compose(self._stretch.lookup_table())
        self._stretched_levels = self._lut.levels[self._stretch.lookup_table()]
        self._scaler = VideoReformatter()

    def applies_to(self, picture: Picture) -> bool:
        """Whether the tone is meant for pictures of this format: deep ones, and shallow gray if the tone says so."""
        return picture.frame.format.name in (*self._gray_formats, "rgb48le")

    def count_clipped(self, picture: Picture) -> ClipCounts | None:
        """How many samples are outside the window; None for a picture without a tone."""
        if picture.clip_counts is not None or not self.applies_to(picture):
            return picture.clip_counts
        samples = samples_view(picture.frame)
        assert samples is not None
        return self._window.count_clipped(samples)

    def map_gray(self, picture: Picture, width: int, height: int) -> VideoFrame:
        """Gray -> limited-range yuv420p, or full-range gray, of this size in pixels."""
        samples = samples_view(picture.frame)
        assert samples is not None
        if (picture.frame.width, picture.frame.height) == (width, height):
            return (self._position_lut if picture.clip_counts else self._sample_lut).to_frame(samples)
        if picture.clip_counts:
            return self._position_lut.to_frame(self._scale(picture.frame, width, height))
        frame, stretched = empty_frame(samples)
        self._stretch.map_into(samples, stretched)
        return self._stretched_lut.to_frame(self._scale(frame, width, height))

    def map_rgb(self, picture: Picture, width: int, height: int) -> VideoFrame:
        """RGB -> rgb24 of this size in pixels; window, scaling and gamma are applied to each channel."""
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
        """(height, width, 3), each channel by itself: swscale would convert RGB to YCbCr and back."""
        channels = (to_frame(samples[..., channel]) for channel in range(3))
        return np.stack([self._scale(frame, width, height) for frame in channels], axis=-1)

    def _scale(self, frame: VideoFrame, width: int, height: int) -> Samples:
        """(height, width) of uint16, from a gray16le frame."""
        shrinks = width * height <= frame.width * frame.height
        kernel = Interpolation.AREA if shrinks else Interpolation.BICUBIC
        scaled = samples_view(self._scaler.reformat(frame, width, height, "gray16le", interpolation=kernel, threads=1))
        assert scaled is not None
        return scaled

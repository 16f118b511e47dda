"""A render's tone, applied to frames: window, area average, then gamma and colormap.

Averaging is of samples cut off at the window, linear in the samples' own unit: before gamma and colormap, so that four
pixels shown as one have their mean, and a hot one among them counts no more than the brightest the window shows.
"""

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline.curve import LumaLut, ToneLut, YuvLut
from service.pipeline.picture import Picture
from service.pipeline.samples import Samples, empty_frame, samples_view, to_frame
from service.pipeline.window import ClipCounts, Stretch, Window
from service.plan.tone import Tone

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

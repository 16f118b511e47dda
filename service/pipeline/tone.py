"""A render's tone, applied to frames: window, area average, then gamma and colormap.

Averaging is of samples cut off at the window, linear in the samples' own unit: before gamma and colormap, so that four
pixels shown as one have their mean, and a hot one among them counts no more than the brightest the window shows.
"""

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline.curve import ColourTable, Curve, GrayTable
from service.pipeline.picture import Picture
from service.pipeline.samples import Samples, empty_frame, frame_of, samples_of
from service.pipeline.window import Clipped, Stretch, Window
from service.plan.tone import Tone

_PLACES = np.arange(65536, dtype=np.uint16)


class ToneMap:
    """One for a segment: its tables are made once."""

    def __init__(self, tone: Tone) -> None:
        self._window, self._curve = Window(tone.low, tone.high), Curve(tone)
        self._gray = ("gray", "gray16le") if tone.shallow else ("gray16le",)
        self._positions = self._window.table()
        self._of_samples = self._curve.through(self._positions)
        self._of_positions = self._curve.through(_PLACES)
        self._stretch = Stretch(self._window)
        self._of_stretched = self._curve.through(self._stretch.table())
        self._levels_of_stretched = self._curve.levels[self._stretch.table()]
        self._scaler = VideoReformatter()

    def takes(self, picture: Picture) -> bool:
        return picture.frame.format.name in (*self._gray, "rgb48le")

    def clipped(self, picture: Picture) -> Clipped | None:
        """What of the frame lies outside the window; None for a frame that is shown as it is."""
        if picture.clipped is not None or not self.takes(picture):
            return picture.clipped
        samples = samples_of(picture.frame)
        assert samples is not None
        return self._window.clipped(samples)

    def gray(self, picture: Picture, width: int, height: int) -> VideoFrame:
        """Limited-range yuv420p of this size, from gray samples."""
        samples = samples_of(picture.frame)
        assert samples is not None
        if (picture.frame.width, picture.frame.height) == (width, height):
            return (self._of_positions if picture.clipped else self._of_samples).frame(samples)
        if picture.clipped:
            return self._averaged(picture.frame, self._of_positions, width, height)
        frame, stretched = empty_frame(samples)
        self._stretch.place(samples, stretched)
        return self._averaged(frame, self._of_stretched, width, height)

    def rgb(self, picture: Picture, width: int, height: int) -> VideoFrame:
        """rgb24 of this size, each channel through window, area average and gamma."""
        samples = samples_of(picture.frame)
        assert samples is not None
        if (picture.frame.width, picture.frame.height) == (width, height):
            levels = self._curve.levels if picture.clipped else self._curve.levels[self._positions]
            return frame_of(np.take(levels, samples, mode="clip"))
        if picture.clipped:
            return frame_of(np.take(self._curve.levels, self._channels(samples, width, height)))
        _, stretched = empty_frame(samples)
        self._stretch.place(samples, stretched)
        return frame_of(np.take(self._levels_of_stretched, self._channels(stretched, width, height)))

    def _channels(self, samples: Samples, width: int, height: int) -> Samples:
        """Scaled one by one: swscale would take RGB through YCbCr."""
        scaled = (samples_of(self._scaled(frame_of(samples[..., each]), width, height)) for each in range(3))
        return np.stack([channel for channel in scaled if channel is not None], axis=-1)

    def _averaged(self, frame: VideoFrame, table: GrayTable | ColourTable, width: int, height: int) -> VideoFrame:
        samples = samples_of(self._scaled(frame, width, height))
        assert samples is not None
        return table.frame(samples)

    def _scaled(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        shrinks = width * height <= frame.width * frame.height
        kernel = Interpolation.AREA if shrinks else Interpolation.BICUBIC
        return self._scaler.reformat(frame, width, height, "gray16le", interpolation=kernel, threads=1)

"""Deinterlaces pictures of source videos with FFmpeg's bwdif."""

import av
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from service.pipeline.field_order import PARITIES, FilterChain
from service.pipeline.frames import MediaUnreadable
from service.plan.render_plan import FieldOrder

# What bwdif needs of a picture, in pixels.
_LEAST_WIDTH, _LEAST_HEIGHT = 3, 4
# Formats whose planes are interleaved -> the planar one with the same samples. RGB becomes gbrp.
_PLANAR = {
    "uyvy422": "yuv422p",
    "yuyv422": "yuv422p",
    "yvyu422": "yuv422p",
    "uyyvyy411": "yuv411p",
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p210le": "yuv422p10le",
    "y210le": "yuv422p10le",
}


class Deinterlacer:
    """FFmpeg's bwdif: a progressive picture for each picture, from it and its two neighbours in time.

    The result depends on these three alone. The filter is kept only from one picture to the next one after it, whose
    neighbours it has already.
    """

    def __init__(self) -> None:
        self._filter: FilterChain | None = None
        self._parity = ""
        self._last_fed: list[VideoFrame] = []

    def deinterlace(
        self, frame: VideoFrame, before: VideoFrame | None, after: VideoFrame | None, order: FieldOrder | None
    ) -> VideoFrame:
        """The first field's rows as stored, the others interpolated. A neighbour is None at an end of the video.

        Any order but `top` and `bottom` is that of the picture's own flags, or top first. A picture of under 3x4 pixels
        is returned as it is. Raises MediaUnreadable if FFmpeg cannot.
        """
        if frame.width < _LEAST_WIDTH or frame.height < _LEAST_HEIGHT:
            return frame
        before, after = (one if one is not None and _alike(one, frame) else None for one in (before, after))
        parity = PARITIES.get(order or "", "auto")
        try:
            return self._run(frame, before, after, parity)
        except av.FFmpegError as error:
            self._filter = None
            raise MediaUnreadable(f"the picture cannot be deinterlaced: {error.strerror}") from error

    def _run(self, frame: VideoFrame, before: VideoFrame | None, after: VideoFrame | None, parity: str) -> VideoFrame:
        continues = len(self._last_fed) == 2 and self._last_fed[0] is before and self._last_fed[1] is frame
        new: list[VideoFrame | None] = [after]
        if self._filter is None or not continues or parity != self._parity:
            self._filter, self._parity = FilterChain(_planar(frame), "bwdif", f"send_frame:{parity}:all"), parity
            new = [frame, after] if before is None else [before, frame, after]
        if before is None and after is None:
            # With itself on both sides it would seem to stand still; of a first picture one field is left.
            new = [frame, frame]
        found: list[VideoFrame] = []
        for one in new:
            found += self._filter.feed(None if one is None else _planar(one))
        if after is None:
            self._filter, self._last_fed = None, []
        else:
            self._last_fed = [frame, after]
        if not found:
            raise MediaUnreadable("the picture cannot be deinterlaced: nothing came out")
        return found[-1]


def _alike(one: VideoFrame, other: VideoFrame) -> bool:
    return (one.width, one.height, one.format.name) == (other.width, other.height, other.format.name)


def _planar(frame: VideoFrame) -> VideoFrame:
    """The same samples in planes, which the filter needs."""
    name = frame.format.name
    if frame.format.is_rgb or frame.format.has_palette:
        target = "gbrp" if frame.format.components[0].bits <= 8 else "gbrp16le"
    else:
        target = _PLANAR.get(name, name)
    if target == name:
        return frame
    kept = frame.color_range
    planar = VideoReformatter().reformat(frame, format=target, src_color_range=kept, dst_color_range=kept, threads=1)
    planar.color_range = kept
    return planar

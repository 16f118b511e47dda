"""Crops and rotates decoded frames in their own pixel format, before scaling."""

from dataclasses import replace

import numpy as np
from av import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from service.pipeline.orientation import (
    ORIENTATION_BY_DEGREES,
    Box,
    compose_orientations,
    oriented_size,
    to_stored_box,
)
from service.pipeline.picture import Picture, Samples
from service.plan.geometry import Crop
from service.plan.render_plan import RenderOptions


def crop_frame(frame: VideoFrame, box: Box) -> VideoFrame:
    """A copy of the part inside `box`, in pixels as stored.

    If an edge is between two luma pixels that share a chroma sample, chroma is resampled: each new sample is the mean
    of two neighbours, weighted by distance.
    """
    frame = _to_addressable(frame)
    part = VideoFrame(box[2] - box[0], box[3] - box[1], frame.format.name)
    part.color_range, part.colorspace = frame.color_range, frame.colorspace
    for number, (into, plane) in enumerate(zip(part.planes, frame.planes, strict=True)):
        samples, out = _plane_samples(plane, frame), _plane_samples(into, part)
        across, down = _subsampling(frame, number)
        rows = _crop_rows(samples, box[1], down, out.shape[0])
        out[:] = _crop_rows(rows.swapaxes(0, 1), box[0], across, out.shape[1]).swapaxes(0, 1)
    return part


def _crop_rows(samples: Samples, first_pixel: int, pixels_per_sample: int, count: int) -> Samples:
    """`count` rows from `first_pixel` on; past the edge the last row is repeated.

    If `first_pixel` is inside a sample, each row is the mean of two neighbours, weighted by distance.
    """
    first, inside = divmod(first_pixel, pixels_per_sample)
    if not inside:
        return samples[first : first + count]
    indexes = np.arange(first, first + count + 1).clip(max=len(samples) - 1)
    rows = samples[indexes].astype(np.uint32)
    blended: Samples = rows[:-1] * (pixels_per_sample - inside) + rows[1:] * inside + pixels_per_sample // 2
    return (blended // pixels_per_sample).astype(samples.dtype)


def _subsampling(frame: VideoFrame, plane: int) -> tuple[int, int]:
    """Pixels per sample of this plane, (across, down)."""
    if plane not in (1, 2) or frame.format.is_rgb:
        return 1, 1
    return 8 // frame.format.chroma_width(8), 8 // frame.format.chroma_height(8)


def _plane_samples(plane: VideoPlane, frame: VideoFrame) -> Samples:
    """A view: (height, width) of a planar format's plane, (height, width, bytes per pixel) of a packed format."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    if len(frame.planes) < len(frame.format.components):
        size = frame.format.padded_bits_per_pixel // 8
        return rows[:, : plane.width * size].reshape(plane.height, plane.width, size)
    if frame.format.components[0].bits <= 8:
        return rows[:, : plane.width]
    return rows.view(">u2" if frame.format.is_big_endian else "<u2")[:, : plane.width]


def _to_addressable(frame: VideoFrame) -> VideoFrame:
    """The frame in a format where each pixel has its own bytes; converts palettes, packed bits and NV12."""
    given = frame.format
    whole_bytes = not (given.has_palette or given.is_bit_stream or given.name.startswith("mono"))
    planar = len(frame.planes) == len(given.components)
    packed = len(frame.planes) == 1 and given.chroma_width(8) == 8 and given.padded_bits_per_pixel % 8 == 0
    if whole_bytes and (planar or packed):
        return frame
    plain = "rgb24" if given.is_rgb or given.has_palette else "gray" if len(given.components) == 1 else "yuv444p"
    return VideoReformatter().reformat(
        frame, format=plain, src_color_range=frame.color_range, dst_color_range=frame.color_range, threads=1
    )


class CropAndRotation:
    """Crops the stored picture and adds the rotation to its orientation, so that both are applied in one step."""

    def __init__(self, options: RenderOptions) -> None:
        self._crop: Crop | None = options.crop
        self._rotation = ORIENTATION_BY_DEGREES[options.rotate]

    def output_size(self, picture: Picture) -> tuple[int, int]:
        """(width, height) of the result of `apply`, as shown."""
        width, height = picture.size
        if self._crop:
            left, top, right, bottom = self._crop.within(width, height)
            width, height = right - left, bottom - top
        return oriented_size((width, height), self._rotation)

    def apply(self, picture: Picture) -> Picture:
        """The part of the picture, cut out to the nearest stored pixel."""
        frame, stored = picture.frame, picture.stored_size
        shown_size = self.output_size(picture) if picture.shown_size else None
        if self._crop:
            frame = crop_frame(frame, to_stored_box(self._crop.within(*stored), stored, picture.orientation))
        orientation = compose_orientations(picture.orientation, self._rotation)
        return replace(picture, frame=frame, orientation=orientation, shown_size=shown_size)

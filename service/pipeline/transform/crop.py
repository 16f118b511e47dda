"""Crops and rotates decoded frames in their own pixel format, before scaling."""

from dataclasses import replace
from typing import Any

import numpy as np
from av import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter

from service.pipeline.picture import Picture
from service.plan.geometry import Crop
from service.plan.render_plan import RenderOptions

# Degrees clockwise -> the EXIF orientation that asks for this turn.
ORIENTATION_BY_DEGREES = {0: 1, 90: 6, 180: 3, 270: 8}

# EXIF orientation -> (transpose, then mirror left-right, then mirror top-bottom).
_COMPONENTS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}

_ORIENTATION_NUMBERS = {parts: number for number, parts in _COMPONENTS.items()}

Box = tuple[int, int, int, int]


def compose_orientations(first: int, second: int) -> int:
    """The one orientation that does what `first` and then `second` do."""
    (transposed, across, down), (again, across_too, down_too) = _COMPONENTS[first], _COMPONENTS[second]
    if again:
        across, down = down, across
    return _ORIENTATION_NUMBERS[transposed != again, across != across_too, down != down_too]


def to_stored_box(box: Box, upright: tuple[int, int], orientation: int) -> Box:
    """Where (left, top, right, bottom) of the upright picture of this size lies in the stored one."""
    left, top, right, bottom = box
    transposed, across, down = _COMPONENTS[orientation]
    if across:
        left, right = upright[0] - right, upright[0] - left
    if down:
        top, bottom = upright[1] - bottom, upright[1] - top
    return (top, left, bottom, right) if transposed else (left, top, right, bottom)


Samples = np.ndarray[Any, np.dtype[Any]]


def crop_frame(frame: VideoFrame, box: Box) -> VideoFrame:
    """A copy of (left, top, right, bottom), in pixels as stored.

    Where chroma is subsampled and an edge lies between two luma pixels that share a chroma sample, the new grid of
    chroma lies between the old samples: each new one is the mean of its neighbours, weighted by distance.
    """
    frame = _to_addressable(frame)
    part = VideoFrame(box[2] - box[0], box[3] - box[1], frame.format.name)
    part.color_range, part.colorspace = frame.color_range, frame.colorspace
    for number, (into, plane) in enumerate(zip(part.planes, frame.planes, strict=True)):
        samples, out = _plane_samples(plane, frame), _plane_samples(into, part)
        across, down = _subsampling(frame, number)
        rows = _resample_axis(samples, 0, (box[1], down), out.shape[0])
        out[:] = _resample_axis(rows, 1, (box[0], across), out.shape[1])
    return part


def _resample_axis(samples: Samples, axis: int, start: tuple[int, int], count: int) -> Samples:
    """`count` samples along an axis from pixel start[0] on, each of which covers start[1] pixels."""
    pixel, step = start
    first, beside = divmod(pixel, step)
    if not beside:
        return samples[first : first + count] if axis == 0 else samples[:, first : first + count]
    here, beyond = (_take_clamped(samples, axis, range(first + k, first + k + count)) for k in (0, 1))
    mixed: Samples = (here * (step - beside) + beyond * beside + step // 2) // step
    return mixed.astype(samples.dtype)


def _take_clamped(samples: Samples, axis: int, places: range) -> Samples:
    """Samples at these places, the last one repeated past the edge; wide enough to be multiplied."""
    taken: Samples = samples.take(np.minimum(places, samples.shape[axis] - 1), axis).astype(np.uint32)
    return taken


def _subsampling(frame: VideoFrame, plane: int) -> tuple[int, int]:
    """Pixels that a sample of this plane covers, (across, down)."""
    if plane not in (1, 2) or frame.format.is_rgb:
        return 1, 1
    return 8 // frame.format.chroma_width(8), 8 // frame.format.chroma_height(8)


def _plane_samples(plane: VideoPlane, frame: VideoFrame) -> Samples:
    """(height, width) view of a planar plane, or (height, width, bytes of a pixel) of a packed one."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    if len(frame.planes) < len(frame.format.components):
        size = frame.format.padded_bits_per_pixel // 8
        return rows[:, : plane.width * size].reshape(plane.height, plane.width, size)
    if frame.format.components[0].bits <= 8:
        return rows[:, : plane.width]
    return rows.view(">u2" if frame.format.is_big_endian else "<u2")[:, : plane.width]


def _to_addressable(frame: VideoFrame) -> VideoFrame:
    """The frame in a format whose pixels can be told apart by address: palettes, bits and NV12 are none."""
    shape = frame.format
    whole = not (shape.has_palette or shape.is_bit_stream or shape.name.startswith("mono"))
    planar = len(frame.planes) == len(shape.components)
    packed = len(frame.planes) == 1 and shape.chroma_width(8) == 8 and shape.padded_bits_per_pixel % 8 == 0
    if whole and (planar or packed):
        return frame
    plain = "rgb24" if shape.is_rgb or shape.has_palette else "gray" if len(shape.components) == 1 else "yuv444p"
    return VideoReformatter().reformat(
        frame, format=plain, src_color_range=frame.color_range, dst_color_range=frame.color_range, threads=1
    )


class CropAndRotation:
    """Crops in the stored picture and folds the rotation into the picture's own orientation: one turn does both."""

    def __init__(self, options: RenderOptions) -> None:
        self._crop: Crop | None = options.crop
        self._rotation = ORIENTATION_BY_DEGREES[options.rotate]

    def output_size(self, picture: Picture) -> tuple[int, int]:
        """(width, height) of what `apply` would give, as shown."""
        width, height = picture.size
        if self._crop:
            left, top, right, bottom = self._crop.within(width, height)
            width, height = right - left, bottom - top
        return (height, width) if self._rotation >= 5 else (width, height)

    def apply(self, picture: Picture) -> Picture:
        frame = picture.frame
        if self._crop:
            box = to_stored_box(self._crop.within(*picture.size), picture.size, picture.orientation)
            frame = crop_frame(frame, box)
        return replace(picture, frame=frame, orientation=compose_orientations(picture.orientation, self._rotation))

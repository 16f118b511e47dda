"""Operations on the planes of a frame as NumPy views: fill, copy, paste, pad, apply an EXIF orientation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from av import VideoFrame
from av.video.plane import VideoPlane

from service.pipeline.colour import PIXEL_FORMATS, PixelFormatSpec

Plane = np.ndarray[Any, np.dtype[Any]]
YUV420P = PIXEL_FORMATS["yuv420p"]

_GRAY_TO_FULL_RANGE = bytes(min(max(((level - 16) * 255 + 109) // 219, 0), 255) for level in range(256))
_SAMPLE_TYPES: dict[int, type[np.unsignedinteger[Any]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}

# EXIF orientation -> the turn that makes the picture upright.
ORIENTATION_TRANSFORMS: dict[int, Callable[[Plane], Plane]] = {
    2: lambda plane: plane[:, ::-1],
    3: lambda plane: plane[::-1, ::-1],
    4: lambda plane: plane[::-1],
    5: lambda plane: plane.T,
    6: lambda plane: plane.T[:, ::-1],
    7: lambda plane: plane.T[::-1, ::-1],
    8: lambda plane: plane.T[::-1],
}


def plane_view(plane: VideoPlane, sample_bytes: int = 1) -> Plane:
    """(height, width) view of a plane's samples of 1, 2 or 4 bytes; writing to it writes the frame."""
    rows: Plane = np.frombuffer(memoryview(plane), _SAMPLE_TYPES[sample_bytes])
    return rows.reshape(plane.height, plane.line_size // sample_bytes)[:, : plane.width]


def plane_views(frame: VideoFrame) -> list[Plane]:
    """All planes; a pixel of bgr0 is one sample of 32 bits."""
    each = _sample_bytes(frame)
    return [plane_view(plane, each) for plane in frame.planes]


def _sample_bytes(frame: VideoFrame) -> int:
    if frame.format.name == "bgr0":
        return 4
    return 2 if frame.format.components[0].bits > 8 else 1


def to_full_range_gray(frame: VideoFrame) -> VideoFrame:
    """A full-range copy of a limited-range 8-bit gray frame."""
    target = VideoFrame(frame.width, frame.height, "gray")
    plane = frame.planes[0]
    samples = np.frombuffer(bytes(plane).translate(_GRAY_TO_FULL_RANGE), np.uint8)
    plane_view(target.planes[0])[:] = samples.reshape(plane.height, plane.line_size)[:, : plane.width]
    return target


def relabel(frame: VideoFrame, pixel_format: str) -> VideoFrame:
    """A copy whose samples are the same, under another name of the same layout (yuvj420p as yuv420p)."""
    target = VideoFrame(frame.width, frame.height, pixel_format)
    for into, samples in zip(plane_views(target), plane_views(frame), strict=True):
        into[:] = samples
    return target


def black_frame(width: int, height: int, spec: PixelFormatSpec = YUV420P) -> VideoFrame:
    frame = VideoFrame(width, height, spec.pixel_format)
    for plane, level in zip(plane_views(frame), spec.black, strict=True):
        plane[:] = level
    return frame


def apply_orientation(frame: VideoFrame, orientation: int) -> VideoFrame:
    """The upright frame: sides are swapped for orientations 5 to 8. Subsampled planes need even sides."""
    swap = orientation >= 5
    width, height = (frame.height, frame.width) if swap else (frame.width, frame.height)
    upright = VideoFrame(width, height, frame.format.name)
    for target, source in zip(plane_views(upright), plane_views(frame), strict=True):
        target[:] = ORIENTATION_TRANSFORMS[orientation](source)
    return upright


def paste(frame: VideoFrame, canvas: VideoFrame, left: int, top: int) -> VideoFrame:
    """Copy the frame onto the canvas of the same form at even offsets; returns the canvas."""
    for target, source in zip(plane_views(canvas), plane_views(frame), strict=True):
        x, y = round(left * target.shape[1] / canvas.width), round(top * target.shape[0] / canvas.height)
        target[y : y + source.shape[0], x : x + source.shape[1]] = source
    return canvas


def pad_to(frame: VideoFrame, width: int, height: int) -> VideoFrame:
    """Grow an odd-sized frame by one replicated column and row, so that no pixel is resampled."""
    if (width, height) == (frame.width, frame.height):
        return frame
    grown = VideoFrame(width, height, frame.format.name)
    for target, pixels in zip(plane_views(grown), plane_views(frame), strict=True):
        missing = target.shape[0] - pixels.shape[0], target.shape[1] - pixels.shape[1]
        target[:] = np.pad(pixels, ((0, missing[0]), (0, missing[1])), mode="edge")
    return grown

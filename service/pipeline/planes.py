"""Operations on the planes of a frame as NumPy views: fill, copy, paste, pad, apply an EXIF orientation."""

from typing import Any

import numpy as np
from av import VideoFrame
from av.video.plane import VideoPlane

from service.pipeline.colour import PIXEL_FORMATS, PixelFormatSpec
from service.pipeline.orientation import Plane, orient, oriented_size

YUV420P = PIXEL_FORMATS["yuv420p"]

_GRAY_TO_FULL_RANGE = bytes(min(max(((level - 16) * 255 + 109) // 219, 0), 255) for level in range(256))
_SAMPLE_TYPES: dict[int, type[np.unsignedinteger[Any]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}


def plane_view(plane: VideoPlane, sample_bytes: int = 1) -> Plane:
    """(height, width) view of a plane's samples of 1, 2 or 4 bytes; writing to it writes the frame."""
    rows: Plane = np.frombuffer(memoryview(plane), _SAMPLE_TYPES[sample_bytes])
    return rows.reshape(plane.height, plane.line_size // sample_bytes)[:, : plane.width]


def plane_views(frame: VideoFrame) -> list[Plane]:
    """All planes; a pixel of bgr0 is one sample of 32 bits."""
    deep = frame.format.components[0].bits > 8
    sample_bytes = 4 if frame.format.name == "bgr0" else 2 if deep else 1
    return [plane_view(plane, sample_bytes) for plane in frame.planes]


def to_full_range_gray(frame: VideoFrame) -> VideoFrame:
    """A full-range copy of a limited-range 8-bit gray frame."""
    target = VideoFrame(frame.width, frame.height, "gray")
    plane = frame.planes[0]
    samples = np.frombuffer(bytes(plane).translate(_GRAY_TO_FULL_RANGE), np.uint8)
    plane_view(target.planes[0])[:] = samples.reshape(plane.height, plane.line_size)[:, : plane.width]
    return target


def relabel(frame: VideoFrame, pixel_format: str) -> VideoFrame:
    """A copy with the same samples under the name of another pixel format of equal layout (yuvj420p as yuv420p)."""
    target = VideoFrame(frame.width, frame.height, pixel_format)
    for into, samples in zip(plane_views(target), plane_views(frame), strict=True):
        into[:] = samples
    return target


def black_frame(width: int, height: int, spec: PixelFormatSpec = YUV420P) -> VideoFrame:
    """A black frame; sizes in pixels."""
    frame = VideoFrame(width, height, spec.pixel_format)
    for plane, level in zip(plane_views(frame), spec.black, strict=True):
        plane[:] = level
    return frame


def apply_orientation(frame: VideoFrame, orientation: int) -> VideoFrame:
    """An upright copy. Orientations 5 to 8 exchange width and height; subsampled planes then need even sides."""
    upright = VideoFrame(*oriented_size((frame.width, frame.height), orientation), frame.format.name)
    for target, source in zip(plane_views(upright), plane_views(frame), strict=True):
        target[:] = orient(source, orientation)
    return upright


def paste(frame: VideoFrame, canvas: VideoFrame, left: int, top: int) -> VideoFrame:
    """Copy the frame onto a canvas of the same pixel format, at even offsets in pixels; returns the canvas."""
    for target, source in zip(plane_views(canvas), plane_views(frame), strict=True):
        x, y = round(left * target.shape[1] / canvas.width), round(top * target.shape[0] / canvas.height)
        target[y : y + source.shape[0], x : x + source.shape[1]] = source
    return canvas


def pad_to(frame: VideoFrame, width: int, height: int) -> VideoFrame:
    """Grow a frame to this size by repeating its last column and row; nothing is resampled."""
    if (width, height) == (frame.width, frame.height):
        return frame
    grown = VideoFrame(width, height, frame.format.name)
    for target, samples in zip(plane_views(grown), plane_views(frame), strict=True):
        rows, columns = target.shape[0] - samples.shape[0], target.shape[1] - samples.shape[1]
        target[:] = np.pad(samples, ((0, rows), (0, columns)), mode="edge")
    return grown

"""A decoded picture, and conversions between NumPy sample arrays and video frames."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from av import VideoFrame

from service.plan.formats import rgb

Samples = np.ndarray[Any, Any]


class ClipCounts(NamedTuple):
    """How many source samples of a frame lay below the window, above it, or were not a number."""

    below: int
    above: int
    nan: int


@dataclass(frozen=True, slots=True)
class Picture:
    """`frame` as the decoder gave it (its own format, range and matrix), still to be turned by `orientation` (EXIF).

    Frames deeper than 8 bits are gray16le or rgb48le: the samples themselves or, with `clipped`, positions in the
    tone's window (what signed, 32-bit and float samples become) and what lay outside of it. Of such, `measured` are the
    samples themselves.
    """

    frame: VideoFrame
    decoder: str
    orientation: int = 1
    clip_counts: ClipCounts | None = None
    raw_samples: Samples | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels as shown, after orientation."""
        width, height = self.frame.width, self.frame.height
        return (height, width) if self.orientation >= 5 else (width, height)


ARRAY_FORMATS = {(2, np.uint8): "gray", (3, np.uint8): "rgb24", (2, np.uint16): "gray16le", (3, np.uint16): "rgb48le"}


def to_frame(samples: Samples) -> VideoFrame:
    """A copy as gray, rgb24, gray16le or rgb48le. Raises KeyError for samples that are not unsigned 8 or 16 bits."""
    return VideoFrame.from_ndarray(
        np.ascontiguousarray(samples), format=ARRAY_FORMATS[samples.ndim, samples.dtype.type]
    )


def as_frame_view(samples: Samples) -> VideoFrame:
    """16-bit gray samples as a frame, not copied: 1 ms less at 1080p.

    For what a tone reads through tables. swscale must not have it: it may read beyond the last row.
    """
    return VideoFrame.from_numpy_buffer(np.ascontiguousarray(samples), format="gray16le")


def empty_frame(like: Samples) -> tuple[VideoFrame, Samples]:
    """An unfilled 16-bit frame of the size and channels of an array, and the view to fill it through."""
    frame = VideoFrame(like.shape[1], like.shape[0], ARRAY_FORMATS[like.ndim, np.uint16])
    view = samples_view(frame)
    assert view is not None
    return frame, view


def samples_view(frame: VideoFrame) -> Samples | None:
    """A view of a frame in one of FORMATS, None for others."""
    for (dimensions, kind), name in ARRAY_FORMATS.items():
        if frame.format.name == name:
            dtype = np.dtype(kind).newbyteorder("<")
            channels = 1 if dimensions == 2 else 3
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), dtype).reshape(frame.height, plane.line_size // dtype.itemsize)
            inside = rows[:, : frame.width * channels]
            return inside if channels == 1 else inside.reshape(frame.height, frame.width, 3)
    return None


def composite_over(samples: Samples, background: str, *, premultiplied: bool = False) -> Samples:
    """(height, width, 2 or 4) with alpha last -> without: alpha times colour, and the rest background, rounded.

    `associated` colours are multiplied by alpha already. Gray stays gray over a gray background only. Floats are 0..1.
    """
    top = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
    alpha = samples[..., -1:].astype(np.float64) / top
    if (samples[..., -1] == top).all():
        return np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 2 else samples[..., :3])
    behind = np.array(rgb(background), np.float64) * (top / 255)
    if samples.shape[2] == 2 and len(set(behind)) == 1:
        behind = behind[:1]
    colour = samples[..., :-1].astype(np.float64)
    mixed = (colour if premultiplied else colour * alpha) + (1 - alpha) * behind
    if samples.dtype.kind == "u":
        mixed = np.rint(mixed).clip(0, top)
    found: Samples = mixed.astype(samples.dtype)
    return found[..., 0] if found.shape[2] == 1 else found

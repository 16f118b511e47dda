"""A decoded picture, and conversions between NumPy sample arrays and video frames."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av import VideoFrame

from service.pipeline.orientation import oriented_size
from service.plan.colour import Colour
from service.plan.formats import rgb
from service.plan.render_plan import FieldOrder

Samples = np.ndarray[Any, Any]


class ClipCounts(NamedTuple):
    """How many source samples of a frame lay below the window, above it, or were not a number."""

    below: int
    above: int
    nan: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: `frame` has the decoder's own format, range and matrix; `orientation` is not yet applied.

    Frames deeper than 8 bits are gray16le or rgb48le. If `clip_counts` is set, their samples are positions in the tone
    window, computed from signed, 32-bit or float samples, which are in `raw_samples`. `conversions` says in words what
    was done to the samples that the file holds so that they show what was meant, such as a colour profile's conversion.
    If the stored pixels are not square, `pixel_aspect` is their width to their height, and `shown_size` the size
    (width, height) upright at which the picture has its shape in square pixels.
    `colour` is what the samples of a source video mean; those of an image need no conversion.
    `field_order` is set where the fields of an interlaced picture are kept: the output has to say so.
    """

    frame: VideoFrame
    decoder: str
    orientation: int = 1
    clip_counts: ClipCounts | None = None
    raw_samples: Samples | None = None
    conversions: tuple[str, ...] = ()
    pixel_aspect: Fraction | None = None
    shown_size: tuple[int, int] | None = None
    colour: Colour | None = None
    field_order: FieldOrder | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels as shown: square, and after orientation."""
        return self.shown_size or self.stored_size

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) in stored pixels, after orientation."""
        return oriented_size((self.frame.width, self.frame.height), self.orientation)


@dataclass(frozen=True, slots=True)
class DecodedSamples:
    """Samples of a file, (height, width) or (height, width, 3); `orientation` (EXIF) is not yet applied.

    They are as stored, but for what `conversions` says.
    """

    samples: Samples
    orientation: int
    conversions: tuple[str, ...] = ()


# (dimensions, dtype) of a sample array -> FFmpeg's name for it.
ARRAY_FORMATS = {(2, np.uint8): "gray", (3, np.uint8): "rgb24", (2, np.uint16): "gray16le", (3, np.uint16): "rgb48le"}


def to_frame(samples: Samples) -> VideoFrame:
    """A copy as gray, rgb24, gray16le or rgb48le. Raises KeyError for samples that are not unsigned 8 or 16 bits."""
    return VideoFrame.from_ndarray(
        np.ascontiguousarray(samples), format=ARRAY_FORMATS[samples.ndim, samples.dtype.type]
    )


def as_frame_view(samples: Samples) -> VideoFrame:
    """16-bit gray samples as a frame that shares their memory; a copy would take 1 ms at 1080p.

    Only for lookup tables: swscale may read beyond the last row.
    """
    return VideoFrame.from_numpy_buffer(np.ascontiguousarray(samples), format="gray16le")


def empty_frame(like: Samples) -> tuple[VideoFrame, Samples]:
    """A 16-bit frame with the size and channels of an array, not initialized, and a view to fill it through."""
    frame = VideoFrame(like.shape[1], like.shape[0], ARRAY_FORMATS[like.ndim, np.uint16])
    view = samples_view(frame)
    assert view is not None
    return frame, view


def samples_view(frame: VideoFrame) -> Samples | None:
    """A view of a gray, rgb24, gray16le or rgb48le frame: (height, width) or (height, width, 3); None for others."""
    for (dimensions, kind), name in ARRAY_FORMATS.items():
        if frame.format.name == name:
            dtype = np.dtype(kind).newbyteorder("<")
            channels = 1 if dimensions == 2 else 3
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), dtype).reshape(frame.height, plane.line_size // dtype.itemsize)
            inside = rows[:, : frame.width * channels]
            return inside if channels == 1 else inside.reshape(frame.height, frame.width, 3)
    return None


def has_number(samples: Samples) -> bool:
    """Whether any sample is finite. The first rows nearly always tell."""
    rows = 64
    return any(np.isfinite(samples[row : row + rows]).any() for row in range(0, len(samples), rows))


BAND_PIXELS = 1 << 20


def composite_over(samples: Samples, background: str, *, premultiplied: bool = False) -> Samples:
    """Blend (height, width, 2 or 4), alpha last, over a background colour (#rrggbb) and drop alpha.

    Integers are rounded, floats range from 0 to 1. The result is (height, width) for gray over a gray background, else
    (height, width, 3). `premultiplied` colours have already been multiplied by alpha.
    """
    opaque = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
    if (samples[..., -1] == opaque).all():
        return np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 2 else samples[..., :3])
    behind = np.array(rgb(background), np.float64) * (opaque / 255)
    if samples.shape[2] == 2 and len(set(behind)) == 1:
        behind = behind[:1]
    channels = max(len(behind), samples.shape[2] - 1)

    def blend(band: Samples) -> Samples:
        alpha, colour = band[..., -1:].astype(np.float64) / opaque, band[..., :-1].astype(np.float64)
        blended = (colour if premultiplied else colour * alpha) + (1 - alpha) * behind
        return np.rint(blended).clip(0, opaque) if band.dtype.kind == "u" else blended

    result = map_bands(blend, samples, channels)
    return result[..., 0] if channels == 1 else result


def map_bands(function: Callable[[Samples], Samples], samples: Samples, channels: int) -> Samples:
    """What `function` makes of (height, width, any), as (height, width, channels) of the same type.

    It is called with a megapixel of rows at a time: floats of a whole picture are eight times its size.
    """
    height, width = samples.shape[:2]
    result: Samples = np.empty((height, width, channels), samples.dtype)
    rows = max(1, BAND_PIXELS // max(width, 1))
    for top in range(0, height, rows):
        result[top : top + rows] = function(samples[top : top + rows])
    return result

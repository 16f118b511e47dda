"""How large pictures are: the crop, the rotation, the output size, and bins of several frames.

Sizes are (width, height) in pixels.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from service.errors import InvalidRequest, invalid_field
from service.plan.formats import Codec

DecimationMode = Literal["drop", "mean", "max"]
Size = tuple[int, int]

# The limit of x264 and SVT-AV1 on a side, in pixels.
MAX_SIDE = 16384

# Pixels of a source that are further from square than 1:8 or 8:1 are taken for a mistake in its header.
MAX_PIXEL_ASPECT = 8

# x265 4.1 writes beyond its own memory when a picture is narrower than 50 pixels.
_SMALLEST_SIDE: dict[Codec, int] = {"hevc": 64, "av1": 4}

# These keep odd sides: a JPEG is copied as it is, and lossless means without an added column.
_ANY_SIZE: frozenset[Codec] = frozenset(("mjpeg", "ffv1"))


@dataclass(frozen=True, slots=True)
class CropSpec:
    """The crop of a request: the upper left corner and the size of the part to show, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Crop:
    """`x`, `y` is the upper left corner of the part, in pixels of an upright frame of `of_width` x `of_height`.

    A frame of another size is cropped to the same share of its sides, so that the part shows the same scene.
    """

    x: int
    y: int
    width: int
    height: int
    of_width: int
    of_height: int

    def within(self, width: int, height: int) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) in pixels of an upright frame of this size; never empty, never outside."""
        left, right = _scaled_span(self.x, self.width, self.of_width, width)
        top, bottom = _scaled_span(self.y, self.height, self.of_height, height)
        return left, top, right, bottom


def _scaled_span(start: int, length: int, of: int, side: int) -> tuple[int, int]:
    low = min((2 * start * side + of) // (2 * of), side - 1)
    high = (2 * (start + length) * side + of) // (2 * of)
    return low, max(low + 1, high)


@dataclass(frozen=True, slots=True)
class Bins:
    """`size` source frames make one output frame; the last bin of a render may hold fewer.

    `mean` averages scaled frames: both operations are linear, so the order does not matter, and small frames are
    faster. `max` keeps the brightest at full size and scales afterwards, because a scaled point of light is dimmer.
    `width` x `height` is the size at which frames are merged.
    """

    mode: Literal["mean", "max"]
    size: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """What happens to the size of a frame: `source`, cropped, rotated by `rotate` degrees clockwise, then scaled.

    `pixel_aspect` is the width to the height of an output pixel; None if sources are shown as stored, whatever they
    say of their pixels. `panel` is what a frame is scaled to where `output` is a grid of several.
    """

    source: Size
    crop: Crop | None
    rotate: int
    output: Size
    pixel_aspect: Fraction | None = Fraction(1)
    panel: Size | None = None

    @property
    def cropped_size(self) -> Size:
        """The size after the crop, before the rotation."""
        return (self.crop.width, self.crop.height) if self.crop else self.source

    @property
    def unscaled_size(self) -> Size:
        """The size after crop and rotation, before scaling."""
        return unscaled_size(self.source, self.crop, self.rotate)


def crop_of(source: Size, part: CropSpec) -> Crop | None:
    """The crop for frames of this size; None for the whole picture.

    Raises InvalidRequest, pointing at the side (`#/crop/width` or `#/crop/height`) that reaches outside.
    """
    for name, end, side in zip(("width", "height"), (part.x + part.width, part.y + part.height), source, strict=True):
        if end > side:
            detail = f"the crop reaches to pixel {end}, but the frames are {source[0]}x{source[1]}"
            raise invalid_field(f"#/crop/{name}", detail, "outside")
    if (part.width, part.height) == source:
        return None
    return Crop(part.x, part.y, part.width, part.height, *source)


def crop_in_stored_pixels(crop: Crop, stored: Size) -> Crop:
    """The same part of a frame whose stored pixels are not square."""
    left, top, right, bottom = crop.within(*stored)
    return Crop(left, top, right - left, bottom - top, *stored)


def unscaled_size(source: Size, crop: Crop | None, rotate: int) -> Size:
    """What is left of a source frame after the crop and then the rotation (degrees)."""
    width, height = (crop.width, crop.height) if crop else source
    return (height, width) if rotate in (90, 270) else (width, height)


def square_size(stored: Size, pixel_aspect: Fraction) -> Size:
    """The size at which a stored picture has its shape in square pixels: only the width changes, and stays even.

    `pixel_aspect` is the width to the height of a stored pixel.
    """
    width = stored[0] * pixel_aspect
    return (_even(width) if stored[0] % 2 == 0 else _whole(width)), stored[1]


def bins_of(mode: DecimationMode, size: int, native: Size, output: Size) -> Bins | None:
    """The bins of a render; None where frames are dropped, or where one frame makes a bin.

    `native` is the size before scaling, as the codec can take it.
    """
    if mode == "drop" or size == 1:
        return None
    return Bins(mode, size, *(output if mode == "mean" else native))


def output_size(
    source: Size, width: int | None, height: int | None, scale: float | None, codec: Codec = "h264"
) -> Size:
    """The size of the video for this request; both sides are even except for mjpeg and ffv1.

    Raises InvalidRequest, pointing at `#/scale`, `#/width` or `#/codec`.
    """
    exact_width, exact_height = _exact_size(source, width, height, scale)
    rounded = _whole if codec in _ANY_SIZE else _even
    size = (rounded(exact_width), rounded(exact_height))
    _require_possible(size, codec)
    return size


def panel_size(
    source: Size, shape: tuple[int, int], total: tuple[int | None, int | None], scale: float | None, codec: Codec
) -> Size:
    """The size of one panel of a grid of so many (columns, rows), which has about this `total` size if it is given.

    Both sides are even, so that chroma samples belong to one panel. Raises what `output_size` does.
    """
    width, height = (side and Fraction(side, count) for side, count in zip(total, shape, strict=True))
    exact_width, exact_height = _exact_size(source, width, height, scale)
    size = (_even(exact_width), _even(exact_height))
    _require_possible((size[0] * shape[0], size[1] * shape[1]), codec)
    return size


def _require_possible(size: Size, codec: Codec) -> None:
    if max(size) > MAX_SIDE:
        raise _too_large(size)
    if min(size) < (least := _SMALLEST_SIDE.get(codec, 1)):
        detail = f"the output would be {size[0]}x{size[1]} pixels; {codec} needs {least}x{least}: use another codec"
        raise invalid_field("#/codec", detail, "too_small")


def native_size(source: Size, codec: Codec) -> Size:
    """The size at which nothing is scaled, made even where the codec needs that."""
    rounded = _whole if codec in _ANY_SIZE else _even
    return rounded(Fraction(source[0])), rounded(Fraction(source[1]))


def _exact_size(
    source: Size, width: int | Fraction | None, height: int | Fraction | None, scale: float | None
) -> tuple[Fraction, Fraction]:
    if scale is not None and (width or height):
        raise invalid_field("#/scale", "give either scale or width/height, not both", "exclusive")
    source_width, source_height = source
    if scale is not None:
        factor = Fraction(scale).limit_denominator(10_000)
        return source_width * factor, source_height * factor
    if width and height:
        return Fraction(width), Fraction(height)
    if width:
        return Fraction(width), source_height * Fraction(width) / source_width
    if height:
        return source_width * Fraction(height) / source_height, Fraction(height)
    return Fraction(source_width), Fraction(source_height)


def _even(side: Fraction) -> int:
    """The nearest even number; an odd native side grows by one (a replicated edge), it is never cropped."""
    return max(2, int((side + 1) // 2) * 2)


def _whole(side: Fraction) -> int:
    return max(1, round(side))


def _too_large(size: Size) -> InvalidRequest:
    detail = (
        f"the output would be {size[0]}x{size[1]} pixels; a side may have at most {MAX_SIDE}: ask for a smaller width"
    )
    return invalid_field("#/width", detail, "too_large")

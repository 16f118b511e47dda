"""The output size: source size and the request's width, height or scale -> pixels that the codec can take."""

from fractions import Fraction

from service.errors import Invalid, invalid_field
from service.plan.containers import Codec

MAX_SIDE = 16384
"""x264's and SVT-AV1's own limit on a side, in pixels."""

_SMALLEST: dict[Codec, int] = {"hevc": 64, "av1": 4}
"""x265 4.1 writes beyond its own memory when a picture is narrower than 50 pixels."""

_ANY_SIZE: frozenset[Codec] = frozenset(("mjpeg", "ffv1"))
"""They keep odd sides: a JPEG is copied as it is, and lossless is without an added column."""


def output_size(
    source: tuple[int, int], width: int | None, height: int | None, scale: float | None, codec: Codec = "h264"
) -> tuple[int, int]:
    """Width and height in pixels, both even but for mjpeg and ffv1; raises Invalid with a pointer to the field."""
    if scale is not None and (width or height):
        raise invalid_field("#/scale", "give either scale or width/height, not both", "exclusive")
    wanted = _wanted(source, width, height, scale)
    rounded = _whole if codec in _ANY_SIZE else _even
    size = (rounded(wanted[0]), rounded(wanted[1]))
    if max(size) > MAX_SIDE:
        raise _too_large(size)
    if min(size) < (least := _SMALLEST.get(codec, 1)):
        detail = f"the output would be {size[0]}x{size[1]} pixels; {codec} needs {least}x{least}: use another codec"
        raise invalid_field("#/codec", detail, "too_small")
    return size


def native_size(source: tuple[int, int], codec: Codec) -> tuple[int, int]:
    """The size at which nothing is scaled, made even where the codec needs that."""
    rounded = _whole if codec in _ANY_SIZE else _even
    return rounded(Fraction(source[0])), rounded(Fraction(source[1]))


def _wanted(
    source: tuple[int, int], width: int | None, height: int | None, scale: float | None
) -> tuple[Fraction, Fraction]:
    source_width, source_height = source
    if scale is not None:
        factor = Fraction(scale).limit_denominator(10_000)
        return source_width * factor, source_height * factor
    if width and height:
        return Fraction(width), Fraction(height)
    if width:
        return Fraction(width), Fraction(source_height * width, source_width)
    if height:
        return Fraction(source_width * height, source_height), Fraction(height)
    return Fraction(source_width), Fraction(source_height)


def _even(side: Fraction) -> int:
    """The nearest even number; an odd native side grows by one (a replicated edge), it is never cropped."""
    return max(2, int((side + 1) // 2) * 2)


def _whole(side: Fraction) -> int:
    return max(1, round(side))


def _too_large(size: tuple[int, int]) -> Invalid:
    detail = (
        f"the output would be {size[0]}x{size[1]} pixels; a side may have at most {MAX_SIDE}: ask for a smaller width"
    )
    return invalid_field("#/width", detail, "too_large")

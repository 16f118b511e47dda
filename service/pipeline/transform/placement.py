"""Where a picture is placed on the output canvas: pure arithmetic on (width, height) in pixels."""

from dataclasses import dataclass
from typing import assert_never

from service.pipeline.frames import SizeMismatch
from service.plan.render_plan import MismatchPolicy


@dataclass(frozen=True, slots=True)
class Placement:
    """Scale to `width` x `height`, then put the result at (`left`, `top`). `reason` is None for a plain fit."""

    width: int
    height: int
    left: int = 0
    top: int = 0
    reason: str | None = None


def placement(source: tuple[int, int], canvas: tuple[int, int], mismatch: MismatchPolicy) -> Placement:
    """Placement of an upright picture: unscaled, scaled to the canvas, or according to `mismatch`.

    Raises SizeMismatch if the aspect differs and `mismatch` is `fail`.
    """
    rounded_up_to_even = tuple(side + side % 2 for side in source)
    if canvas in (source, rounded_up_to_even):
        return Placement(*source)
    if same_aspect(source, canvas):
        return Placement(*canvas)
    match mismatch:
        case "pad":
            return pad(source, canvas)
        case "scale":
            return Placement(*canvas, reason=_describe(source, "stretched to", canvas))
        case "fail":
            raise SizeMismatch(_describe(source, "does not match", canvas))
        case _:
            assert_never(mismatch)


def same_aspect(source: tuple[int, int], canvas: tuple[int, int]) -> bool:
    """Whether the canvas has the source's aspect to within 2 pixels on one side, which rounding to even sizes needs."""
    (width, height), (wide, high) = source, canvas
    return abs(height * wide - high * width) < 2 * width or abs(width * high - wide * height) < 2 * height


def pad(source: tuple[int, int], canvas: tuple[int, int]) -> Placement:
    """The largest even-sized fit inside the canvas, centred at even offsets (whole chroma samples)."""
    (width, height), (wide, high) = source, canvas
    scaled_width = min(wide, _round_to_even(width * high / height))
    scaled_height = min(high, _round_to_even(height * wide / width))
    left, top = (wide - scaled_width) // 4 * 2, (high - scaled_height) // 4 * 2
    return Placement(scaled_width, scaled_height, left, top, _describe(source, "padded into", canvas))


def _round_to_even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _describe(source: tuple[int, int], verb: str, canvas: tuple[int, int]) -> str:
    return f"{source[0]}x{source[1]} {verb} {canvas[0]}x{canvas[1]}"

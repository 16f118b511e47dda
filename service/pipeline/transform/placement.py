"""Computes where a picture goes on the output canvas, in pixels."""

from dataclasses import dataclass

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
    """Where an upright picture of this (width, height) goes. Raises SizeRefused."""
    if source == canvas or _is_rounded_up_to_even(source, canvas):
        return Placement(*source)
    if same_aspect(source, canvas):
        return Placement(*canvas)
    if mismatch == "fail":
        raise SizeMismatch(mismatch_reason(source, canvas))
    return (pad if mismatch == "pad" else stretch)(source, canvas)


def same_aspect(source: tuple[int, int], canvas: tuple[int, int]) -> bool:
    """Whether the canvas is the source scaled and rounded to even sizes: within 2 pixels along one side."""
    (width, height), (wide, high) = source, canvas
    return abs(height * wide - high * width) < 2 * width or abs(width * high - wide * height) < 2 * height


def pad(source: tuple[int, int], canvas: tuple[int, int]) -> Placement:
    """The largest even-sized fit inside the canvas, centred on even offsets (whole chroma samples)."""
    (width, height), (wide, high) = source, canvas
    scaled_width = min(wide, _round_to_even(width * high / height))
    scaled_height = min(high, _round_to_even(height * wide / width))
    left, top = (wide - scaled_width) // 4 * 2, (high - scaled_height) // 4 * 2
    return Placement(scaled_width, scaled_height, left, top, _describe(source, "padded into", canvas))


def stretch(source: tuple[int, int], canvas: tuple[int, int]) -> Placement:
    return Placement(*canvas, reason=_describe(source, "stretched to", canvas))


def mismatch_reason(source: tuple[int, int], canvas: tuple[int, int]) -> str:
    return _describe(source, "does not match", canvas)


def _is_rounded_up_to_even(source: tuple[int, int], canvas: tuple[int, int]) -> bool:
    """Whether the canvas is the source at its own size, made even by at most one column and one row."""
    return source != canvas and all(side + side % 2 == even for side, even in zip(source, canvas, strict=True))


def _round_to_even(length: float) -> int:
    return max(2, round(length / 2) * 2)


def _describe(source: tuple[int, int], verb: str, canvas: tuple[int, int]) -> str:
    return f"{source[0]}x{source[1]} {verb} {canvas[0]}x{canvas[1]}"

"""What a device has to do to one picture: the CPU's framing and placing, said as a Shaping. Pure arithmetic."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from service.pipeline.cuda.driver import Shaping, Tones
from service.pipeline.frames import Fallback
from service.pipeline.geometry import placement
from service.pipeline.turn import ROTATED, followed_by, stored_box
from service.plan.render_plan import RenderOptions

_TURNS: dict[int, Literal[0, 90, 180, 270]] = {number: degrees for degrees, number in ROTATED.items()}  # type: ignore[misc]
"""EXIF orientation -> degrees clockwise; mirrored ones are not among them."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """`reason` says how the picture differs from the output's shape, None for a plain fit."""

    shaping: Shaping
    reason: str | None


class Stored(NamedTuple):
    """A picture as it is stored: (width, height), EXIF orientation, and what its samples mean."""

    size: tuple[int, int]
    orientation: int
    tones: Tones | None = None


def shaped_bin(options: RenderOptions, stored: Stored) -> Shaped | None:
    """For bins of such pictures, of which each becomes one of the output; None for what is the CPU's, and where there
    are no bins. Raises SizeRefused."""
    place = shaped(options, *stored)
    if isinstance(place, Fallback) or options.bins is None:
        return None
    return replace(place, shaping=replace(place.shaping, members=options.bins.size, over=options.bins.mode))


def shaped(
    options: RenderOptions, stored: tuple[int, int], orientation: int, tones: Tones | None = None
) -> Shaped | Fallback:
    """For a picture of this (width, height) as stored, to be turned by its EXIF orientation. Raises SizeRefused."""
    turn = _TURNS.get(followed_by(orientation, ROTATED[options.rotate]))
    if turn is None:
        return Fallback("transform", "mirrored", "mirrored pictures are turned by the CPU")
    box = _box(options, stored, orientation)
    source = _turned((box[2] - box[0], box[3] - box[1]), turn) if box else _turned(stored, turn)
    place = placement(source, (options.width, options.height), options.mismatch)
    if place.width > source[0] or place.height > source[1]:
        return Fallback("transform", "enlarged", "pictures are enlarged by the CPU")
    shaping = Shaping(
        (place.width, place.height),
        (options.width, options.height),
        (place.left, place.top),
        box,
        turn,
        tones=tones,
    )
    return Shaped(shaping, place.reason)


def _box(options: RenderOptions, stored: tuple[int, int], orientation: int) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) as stored."""
    if options.crop is None:
        return None
    upright = _turned(stored, 90 if orientation >= 5 else 0)
    return stored_box(options.crop.within(*upright), upright, orientation)


def _turned(size: tuple[int, int], degrees: int) -> tuple[int, int]:
    return (size[1], size[0]) if degrees in (90, 270) else size

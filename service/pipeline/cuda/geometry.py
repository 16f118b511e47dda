"""Crop, rotation, scaling and padding of one image, as a TransformSpec for the device. Pure arithmetic."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from service.pipeline.cuda.driver import ToneCurve, TransformSpec
from service.pipeline.frames import Fallback
from service.pipeline.orientation import ORIENTATION_BY_DEGREES, compose_orientations, to_stored_box
from service.pipeline.transform.placement import placement
from service.plan.render_plan import RenderOptions

# EXIF orientation -> degrees clockwise; mirrored ones are not among them.
_ROTATIONS: dict[int, Literal[0, 90, 180, 270]] = {
    number: degrees  # type: ignore[misc]
    for degrees, number in ORIENTATION_BY_DEGREES.items()
}


@dataclass(frozen=True, slots=True)
class TransformPlan:
    """`reason` says how the picture differs from the output's shape, None for a plain fit."""

    spec: TransformSpec
    reason: str | None


class SourceGeometry(NamedTuple):
    """A picture as it is stored: (width, height), EXIF orientation, and what its samples mean."""

    size: tuple[int, int]
    orientation: int
    tone: ToneCurve | None = None


def plan_bin_transform(options: RenderOptions, source: SourceGeometry) -> TransformPlan | None:
    """For bins of such pictures, of which each becomes one of the output; None for what is the CPU's, and where there
    are no bins. Raises SizeRefused."""
    place = plan_transform(options, *source)
    if isinstance(place, Fallback) or options.bins is None:
        return None
    return replace(place, spec=replace(place.spec, bin_size=options.bins.size, bin_mode=options.bins.mode))


def plan_transform(
    options: RenderOptions, size: tuple[int, int], orientation: int, tone: ToneCurve | None = None
) -> TransformPlan | Fallback:
    """For a picture of this (width, height) as stored, to be turned by its EXIF orientation. Raises SizeRefused."""
    turn = _ROTATIONS.get(compose_orientations(orientation, ORIENTATION_BY_DEGREES[options.rotate]))
    if turn is None:
        return Fallback("transform", "mirrored", "mirrored pictures are turned by the CPU")
    box = _stored_crop(options, size, orientation)
    source = _rotated_size((box[2] - box[0], box[3] - box[1]), turn) if box else _rotated_size(size, turn)
    place = placement(source, (options.width, options.height), options.mismatch)
    if place.width > source[0] or place.height > source[1]:
        return Fallback("transform", "enlarged", "pictures are enlarged by the CPU")
    shaping = TransformSpec(
        (place.width, place.height),
        (options.width, options.height),
        (place.left, place.top),
        box,
        turn,
        tone=tone,
    )
    return TransformPlan(shaping, place.reason)


def _stored_crop(options: RenderOptions, size: tuple[int, int], orientation: int) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom) as stored."""
    if options.crop is None:
        return None
    upright = _rotated_size(size, 90 if orientation >= 5 else 0)
    return to_stored_box(options.crop.within(*upright), upright, orientation)


def _rotated_size(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    return (size[1], size[0]) if rotation in (90, 270) else size

"""Plans crop, rotation, scaling and padding of one image as a TransformSpec. Pure arithmetic."""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from service.pipeline.cuda.driver import ToneCurve, TransformSpec
from service.pipeline.frames import Fallback
from service.pipeline.orientation import ORIENTATION_BY_DEGREES, compose_orientations, to_stored_box
from service.pipeline.transform.placement import placement
from service.plan.render_plan import RenderOptions

# EXIF orientation -> degrees clockwise, without the mirrored orientations.
_ROTATIONS: dict[int, Literal[0, 90, 180, 270]] = {
    number: degrees  # type: ignore[misc]
    for degrees, number in ORIENTATION_BY_DEGREES.items()
}


@dataclass(frozen=True, slots=True)
class TransformPlan:
    """`reason` is the note for the receipt if the picture does not have the shape of the output."""

    spec: TransformSpec
    reason: str | None


class SourceGeometry(NamedTuple):
    """A stored picture: (width, height) in pixels, EXIF orientation, and the tone curve of its samples, if any."""

    size: tuple[int, int]
    orientation: int
    tone: ToneCurve | None = None


def plan_bin_transform(options: RenderOptions, source: SourceGeometry) -> TransformPlan | None:
    """The transform of a whole bin of such pictures into one; None without bins, or if the CPU has to transform them.

    Raises SizeMismatch.
    """
    plan = plan_transform(options, source)
    if isinstance(plan, Fallback) or options.bins is None:
        return None
    return replace(plan, spec=replace(plan.spec, bin_size=options.bins.size, bin_mode=options.bins.mode))


def plan_transform(options: RenderOptions, source: SourceGeometry) -> TransformPlan | Fallback:
    """The transform of one picture, or why the CPU has to do it. Raises SizeMismatch."""
    rotation = _ROTATIONS.get(compose_orientations(source.orientation, ORIENTATION_BY_DEGREES[options.rotate]))
    if rotation is None:
        return Fallback("transform", "mirrored", "mirrored orientations run on the CPU")
    box = _stored_crop(options, source)
    read_size = (box[2] - box[0], box[3] - box[1]) if box else source.size
    width, height = _rotated_size(read_size, rotation)
    place = placement((width, height), (options.width, options.height), options.mismatch)
    if place.width > width or place.height > height:
        return Fallback("transform", "enlarged", "enlarging runs on the CPU")
    spec = TransformSpec(
        size=(place.width, place.height),
        canvas=(options.width, options.height),
        offset=(place.left, place.top),
        crop=box,
        rotation=rotation,
        tone=source.tone,
    )
    return TransformPlan(spec, place.reason)


def _stored_crop(options: RenderOptions, source: SourceGeometry) -> tuple[int, int, int, int] | None:
    """The crop as (left, top, right, bottom) of the stored picture."""
    if options.crop is None:
        return None
    upright = _rotated_size(source.size, 90 if source.orientation >= 5 else 0)
    return to_stored_box(options.crop.within(*upright), upright, source.orientation)


def _rotated_size(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    return (size[1], size[0]) if rotation in (90, 270) else size

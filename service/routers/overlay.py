"""What a request wants written onto the pictures, checked against the catalogue."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import invalid_field
from service.plan.overlay import Overlay, ScaleBar, require_drawable, text_size
from service.plan.render_plan import RenderOptions
from service.plan.scale_bar import scale_bar
from service.routers.overlay_models import OverlayModel, ScaleBarModel
from service.routers.timing import require_capture_times
from service.store import experiments


async def overlay_of(
    connection: AsyncConnection,
    wanted: OverlayModel,
    dataset: dict[str, Any],
    options: RenderOptions,
    shown: tuple[int, int],
) -> Overlay | None:
    """None when nothing is to be written. `shown` is the size before scaling. Raises Invalid."""
    text = " ".join(wanted.text.split()).replace("\u03bc", "\u00b5")  # the Greek letter that keyboards give for micro
    require_drawable(text)
    if wanted.captured_at:
        require_capture_times(dataset, "#/overlay/captured_at", "leave it out")
    bar = await _bar(connection, wanted.scale_bar, dataset, options, shown) if wanted.scale_bar else None
    if not (wanted.frame_index or wanted.captured_at or wanted.elapsed or text or bar):
        return None
    size = min(wanted.size or text_size(options.height), options.height)
    return Overlay(wanted.frame_index, wanted.captured_at, wanted.elapsed, text, bar, wanted.position, size)


async def _bar(
    connection: AsyncConnection,
    wanted: ScaleBarModel,
    dataset: dict[str, Any],
    options: RenderOptions,
    shown: tuple[int, int],
) -> ScaleBar:
    row = await experiments.get(connection, dataset["experiment_id"])
    side = row["metadata"].get("pixel_size_um") if row else None
    if isinstance(side, bool) or not isinstance(side, int | float) or not 1e-6 <= side <= 1e9:
        detail = "the experiment's metadata has no pixel_size_um, the side of a source pixel in micrometres: add it"
        raise invalid_field("#/overlay/scale_bar", detail, "no_pixel_size")
    return scale_bar(wanted.length, wanted.unit, float(side), options, shown)

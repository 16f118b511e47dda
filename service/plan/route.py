"""Which device does each stage of a render, and why: from what was proven, and what it costs at the measured rates.

Pure. Rates are megapixels a second of one canary at a time; seconds are those of one output frame in one slot.
"""

from collections.abc import Sequence
from typing import Literal

from service.errors import Invalid, invalid_field
from service.plan.capability import Capability
from service.plan.proven import Proven
from service.plan.render_plan import RenderOptions
from service.plan.ways import NOT_PROVEN, Route, Source, Ways, milliseconds

Wish = Literal["auto", "cpu", "cuda"]


def route(
    capabilities: Sequence[Capability], options: RenderOptions, source: Source, wish: Wish = "auto", sharing: float = 1
) -> Route:
    """The cheapest way that is proven. `sharing` slots use one device at a time. Raises Invalid, pointing at the
    device, when "cuda" is wished and nothing can be done on one."""
    ways = Ways(Proven(capabilities), options, source, sharing)
    cpu = ways.all_cpu()
    if wish == "cpu":
        return cpu("asked for")
    gpu = ways.on_devices()
    if wish == "cuda":
        if not gpu:
            raise _impossible(ways.obstacle())
        return min(gpu, key=_order)
    best = min(gpu, key=_order, default=None)
    if best is None:
        return cpu(ways.obstacle())
    return (
        best
        if best.seconds < ways.cpu_seconds()
        else cpu(f"{milliseconds(best.seconds)} by {best.decode.device}, no less")
    )


def _order(route: Route) -> tuple[float, str, str]:
    return route.seconds, route.encode.device, route.transform.device


def _impossible(why: str) -> Invalid:
    detail = f"{NOT_PROVEN}: use auto or cpu" if why == NOT_PROVEN else f"this render cannot use one: {why}"
    return invalid_field("#/device", detail, "no_device")

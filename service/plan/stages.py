"""Which stage runs where, and why: told in the 202 and on the job."""

from service.plan.render_plan import RenderOptions
from service.plan.route import route
from service.plan.ways import Route, Source

Stages = dict[str, dict[str, str]]


def stage_plan(options: RenderOptions, chosen: Route | None = None) -> Stages:
    """The device and the reason of every stage; without a route, those of a CPU render."""
    way = chosen or route((), options, Source((), options.width, options.height))
    return {
        "fetch": {"device": "cpu", "reason": "objects are read ahead of the decoder"},
        "decode": {"device": way.decode.device, "reason": way.decode.reason},
        "transform": {"device": way.transform.device, "reason": way.transform.reason},
        "encode": {"device": way.encode.device, "reason": way.encode.reason},
    }

"""Find the request that `dry_run` accepts: what a dataset does not allow of the look is left out, and named."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from service.agent.session import EstimateRender
from service.errors import FieldProblem, InvalidRequest
from service.plan.estimate import Estimate

# Without these it is still the video that was asked for. A part of the frames is never left out.
OPTIONAL = ("overlay", "tone", "scale", "width", "height", "rotate", "codec")
PACE = ("timing", "speed")
USUAL_FPS, MIN_FPS, MAX_FPS = 30.0, 0.1, 240.0


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """`estimate` is None if nobody was asked. `left_out`: the reason for each member."""

    request: dict[str, Any]
    estimate: Estimate | None
    left_out: dict[str, str] = field(default_factory=dict)


async def find_accepted(estimate_render: EstimateRender | None, request: dict[str, Any]) -> AcceptedRequest:
    """Ask for the estimate until nothing is refused. Raises InvalidRequest for what is never left out, and the other
    errors of `estimate_render`."""
    left_out: dict[str, str] = {}
    if estimate_render is None:
        return AcceptedRequest(request, None)
    while True:
        try:
            return AcceptedRequest(request, await estimate_render(request), left_out)
        except InvalidRequest as refused:
            reduced = next(_reductions(request, refused.errors), None)
            if reduced is None:
                raise
            request, member, reason = reduced
            left_out[member] = reason


def _reductions(request: dict[str, Any], errors: tuple[FieldProblem, ...]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """The request without what an error points at, the name of that, and the reason."""
    for error in errors:
        name, *inner = (error.pointer or "").removeprefix("#/").split("/")
        if name in PACE and "speed" in request:
            yield _at_a_steady_rate(request), "the capture times", f"{error.detail}; it is shown at a steady rate"
        elif name in OPTIONAL and name in request:
            part = inner[0] if inner and isinstance(request[name], dict) and inner[0] in request[name] else None
            rest = {key: value for key, value in request[name].items() if key != part} if part else {}
            others = {key: value for key, value in request.items() if key != name}
            yield others | ({name: rest} if rest else {}), part or name, error.detail


def _at_a_steady_rate(request: dict[str, Any]) -> dict[str, Any]:
    """As many times the usual rate, unless it names one."""
    fps = min(max(USUAL_FPS * request["speed"], MIN_FPS), MAX_FPS)
    return {"fps": fps} | {key: value for key, value in request.items() if key not in PACE}

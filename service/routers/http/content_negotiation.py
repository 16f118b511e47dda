"""406 for clients that do not accept JSON, decided before the route runs."""

from typing import Any

from fastapi import Request
from fastapi.datastructures import DefaultPlaceholder
from fastapi.responses import JSONResponse

from service.errors import FieldProblem, ReelmillError
from service.routers.http.fields import MAX_HEADER_LENGTH

JSON, EVENT_STREAM = "application/json", "text/event-stream"
# The media ranges that include JSON. More specific ones take precedence (RFC 9110, 12.5.1).
_SPECIFICITY = {"*/*": 0, "application/*": 1, JSON: 2}


class NotAcceptable(ReelmillError):
    status, slug, title = 406, "not-acceptable", "The answer would be JSON, which the request refuses"


async def require_json_acceptable(request: Request) -> None:
    """Dependency of routes that return JSON. Raises NotAcceptable."""
    sent = request.headers.getlist("accept")
    route = request.scope.get("route")
    if sent and returns_json(route) and not accepts_json(", ".join(sent)) and not prefers_events(request):
        place = FieldProblem("accept `application/json` or `*/*`", "not_acceptable", header="Accept")
        raise NotAcceptable("this address answers `application/json` only", errors=(place,))


def prefers_events(request: Request) -> bool:
    """Whether the route can send events, as its documentation says, and the client names them and not JSON."""
    documented = (getattr(request.scope.get("route"), "responses", None) or {}).get(200, {}).get("content", {})
    header = ", ".join(request.headers.getlist("accept"))[:MAX_HEADER_LENGTH]
    ranges = dict(_parse_media_range(part) for part in header.split(",") if part.strip())
    return EVENT_STREAM in documented and ranges.get(EVENT_STREAM, 0) > ranges.get(JSON, 0)


def returns_json(route: Any) -> bool:
    """Whether successful responses of the route have a JSON body."""
    response = getattr(route, "response_class", None)
    response = response.value if isinstance(response, DefaultPlaceholder) else response
    return (
        isinstance(response, type) and issubclass(response, JSONResponse) and getattr(route, "status_code", None) != 204
    )


def accepts_json(header: str) -> bool:
    """Whether an Accept header allows JSON. A malformed header counts as absent, and so does an endless one."""
    if len(header) > MAX_HEADER_LENGTH:
        return True
    ranges = dict(_parse_media_range(part) for part in header.split(",") if part.strip())
    if not any("/" in name for name in ranges):
        return True
    matching = [name for name in ranges if name in _SPECIFICITY]
    return bool(matching) and ranges[max(matching, key=_SPECIFICITY.__getitem__)] > 0


def _parse_media_range(part: str) -> tuple[str, float]:
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 1.0

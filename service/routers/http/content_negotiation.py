"""406 for clients that do not accept JSON, decided before the route runs."""

from typing import Any

from fastapi import Request
from fastapi.datastructures import DefaultPlaceholder
from fastapi.responses import JSONResponse

from service.errors import FieldProblem, ReelmillError

JSON = "application/json"
# The media ranges that JSON falls under, the more specific ones outranking the others (RFC 9110, 12.5.1).
_SPECIFICITY = {"*/*": 0, "application/*": 1, JSON: 2}


class NotAcceptable(ReelmillError):
    status, slug, title = 406, "not-acceptable", "The answer would be JSON, which the request refuses"


async def require_json_acceptable(request: Request) -> None:
    """A dependency of JSON routes. Raises NotAcceptable."""
    sent = request.headers.getlist("accept")
    if sent and returns_json(request.scope.get("route")) and not accepts_json(", ".join(sent)):
        place = FieldProblem("accept `application/json` or `*/*`", "not_acceptable", header="Accept")
        raise NotAcceptable("this address answers `application/json` only", errors=(place,))


def returns_json(route: Any) -> bool:
    kind = getattr(route, "response_class", None)
    kind = kind.value if isinstance(kind, DefaultPlaceholder) else kind
    return isinstance(kind, type) and issubclass(kind, JSONResponse) and getattr(route, "status_code", None) != 204


def accepts_json(header: str) -> bool:
    """Whether JSON may be sent to somebody with this Accept header; nonsense counts as absent."""
    ranges = dict(_parse_media_range(part) for part in header.split(",") if part.strip())
    if not any("/" in name for name in ranges):
        return True
    known = [name for name in ranges if name in _SPECIFICITY]
    return bool(known) and ranges[max(known, key=_SPECIFICITY.__getitem__)] > 0


def _parse_media_range(part: str) -> tuple[str, float]:
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    given = next((word[2:] for word in parameters if word.startswith("q=")), "1")
    try:
        return name, float(given)
    except ValueError:
        return name, 1.0

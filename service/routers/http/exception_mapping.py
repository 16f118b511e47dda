"""Maps every exception, including validation errors, to the error that the caller sees."""

from types import TracebackType
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc as sql
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from service.errors import FieldProblem, GatewayTimeout, InvalidRequest, NotFound, ReelmillError, ServiceUnavailable
from service.store.objects.object_store import ObjectNotFound, ObjectStoreError

MAX_ERRORS = 50


class UnsupportedMediaType(ReelmillError):
    status, slug, title = 415, "unsupported-media-type", "The body is not JSON"


def invalid_request(exc: RequestValidationError) -> ReelmillError:
    """One FieldProblem for each finding, the first of them also as the detail."""
    if isinstance(exc.body, bytes):
        place = FieldProblem("send `application/json`", "unsupported_media_type", header="Content-Type")
        return UnsupportedMediaType("send the body as JSON, and say so in its Content-Type", errors=(place,))
    if any(found["loc"][0] == "path" for found in exc.errors()):  # an id that cannot be: nothing has it
        return NotFound("there is nothing at this path")
    problems = tuple(_to_field_problem(found, exc.body) for found in exc.errors()[:MAX_ERRORS])
    return InvalidRequest(_summarize(problems), errors=problems)


def json_pointer(loc: tuple[str | int, ...], body: Any) -> str:
    """The JSON pointer (RFC 6901, as a URI fragment) of a pydantic `loc`, which also holds the tags of unions."""
    parts: list[str] = []
    for depth, step in enumerate(loc):
        if isinstance(body, dict) and step in body:
            body = body[step]
        elif isinstance(body, list) and isinstance(step, int):
            body = body[step] if step < len(body) else None
        elif not isinstance(body, dict) or depth < len(loc) - 1:
            continue  # a tag, not a place; only a missing field is named where it is not
        parts.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "#" + "".join("/" + quote(part, safe="!$&'()*+,;=:@-._~", errors="replace") for part in parts)


def _to_field_problem(found: dict[str, Any], body: Any) -> FieldProblem:
    origin, *rest = found["loc"]
    detail, code = _error_message(found), found["type"]
    if code == "json_invalid":
        return FieldProblem(f"not valid JSON, from character {rest[0] if rest else 0} on", code, pointer="#")
    if origin == "body":
        return FieldProblem(detail, code, pointer=json_pointer(_field_steps(found), body))
    name = ".".join(str(step) for step in rest[:1])
    return FieldProblem(detail, code, header=name) if origin == "header" else FieldProblem(detail, code, parameter=name)


def _field_steps(found: dict[str, Any]) -> tuple[str | int, ...]:
    steps = tuple(found["loc"][1:])
    return steps[:-1] if steps and steps[-1] == "[key]" else steps


def _error_message(found: dict[str, Any]) -> str:
    """pydantic's text without the parts that quote the input."""
    text, code = str(found["msg"]), str(found["type"])
    if code.startswith("union_tag"):
        return f"Choose one of {found.get('ctx', {}).get('expected_tags', 'the documented kinds')}"
    if code.endswith("_parsing"):
        return text.partition(",")[0]
    return text.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _summarize(problems: tuple[FieldProblem, ...]) -> str:
    first = problems[0]
    place = first.pointer or first.parameter or first.header
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {first.detail}{more}"


RETRY_AFTER = {"Retry-After": "5"}
# SQLSTATE classes: connection exception, insufficient resources, operator intervention (shutdown, crash).
_UNAVAILABLE_SQLSTATES = ("08", "53", "57P")
# SQLSTATE of a statement that ran into its time limit.
_QUERY_CANCELED = "57014"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class BadRequest(ReelmillError):
    status, slug, title = 400, "bad-request", "The request cannot be read"


class MethodNotAllowed(ReelmillError):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class ContentTooLarge(ReelmillError):
    status, slug, title = 413, "content-too-large", "The request body is too long"


def to_problem_error(exc: Exception, scope: Scope) -> ReelmillError:
    """The public form of `exc`; anything unforeseen is a plain 500 that tells nothing."""
    if isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:  # what a stream raised among its tasks
        return to_problem_error(exc.exceptions[0], scope)
    if isinstance(exc, ReelmillError):
        return exc
    if isinstance(exc, RequestValidationError):
        return invalid_request(exc)
    if isinstance(exc, HTTPException):
        return _framework_error(exc, scope)
    if isinstance(exc, ObjectNotFound):
        return NotFound("the object store has no such object (it may have been deleted)")
    if isinstance(exc, ObjectStoreError):
        return ServiceUnavailable("the object store did not answer; try again in a moment", headers=RETRY_AFTER)
    if isinstance(exc, sql.DBAPIError) and _sqlstate(exc.orig) == _QUERY_CANCELED:
        return GatewayTimeout("the database took longer over this than a request may: ask for less")
    if is_database_unavailable(exc):
        return ServiceUnavailable("the database did not answer; try again in a moment", headers=RETRY_AFTER)
    return ReelmillError("something went wrong on our side; it was logged under the error_id")


def is_database_unavailable(exc: BaseException) -> bool:
    """Whether `exc` means that PostgreSQL cannot be reached or refuses to serve, and not that we asked wrongly."""
    if isinstance(exc, sql.DBAPIError):
        lost = exc.connection_invalidated or isinstance(exc, sql.OperationalError | sql.InterfaceError)
        return lost or _sqlstate(exc.orig).startswith(_UNAVAILABLE_SQLSTATES)
    if isinstance(exc, sql.TimeoutError):  # every connection of the pool is in use
        return True
    if isinstance(exc, OSError):
        return _raised_in_package("asyncpg", exc.__traceback__)
    return _sqlstate(exc).startswith(_UNAVAILABLE_SQLSTATES)


def _sqlstate(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""


def _raised_in_package(package: str, trace: TracebackType | None) -> bool:
    """asyncpg lets the bare OSError or TimeoutError of a failed connection through: tell it from any other."""
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            return True
        trace = trace.tb_next
    return False


def _framework_error(exc: HTTPException, scope: Scope) -> ReelmillError:
    """What Starlette and FastAPI refuse by themselves, in our words."""
    match exc.status_code:
        case 400:
            unreadable = FieldProblem("send one JSON document in UTF-8", "unreadable", pointer="#")
            return BadRequest("the body cannot be read", errors=(unreadable,))
        case 404:
            return NotFound("there is nothing at this path")
        case 405:
            allowed = ", ".join(allowed_methods(scope))
            return MethodNotAllowed(f"this path understands {allowed}", headers={"Allow": allowed})
        case 413:
            return ContentTooLarge("send a shorter body")
        case _:
            return ReelmillError("something went wrong on our side; it was logged under the error_id")


def allowed_methods(scope: Scope) -> list[str]:
    """The methods of all routes that match the path (Starlette tells those of the first one only)."""
    asked = {"type": "http", "path": scope["path"], "root_path": scope.get("root_path", ""), "headers": []}
    routes = scope["app"].router.routes
    known = {
        method
        for method in _METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in routes)
    }
    return [method for method in _METHODS if method in known or (method == "HEAD" and "GET" in known)]

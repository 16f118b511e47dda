"""Map every exception, including validation errors, to the error that the caller sees."""

from types import TracebackType
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc as sql
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from service.errors import FieldProblem, GatewayTimeout, InvalidRequest, NotFound, ReelmillError, ServiceUnavailable
from service.scratch import FULL_ERRORS
from service.store.objects.object_store import ObjectNotFound, ObjectStoreError, ObjectStoreFull
from service.store.space import DISK_FULL

# How much of what is wrong is told, so that no request makes an endless answer: findings, characters of one, and of a
# name within a pointer, which ends before a longer one.
MAX_ERRORS, MAX_DETAIL, MAX_NAME = 50, 1000, 100


class UnsupportedMediaType(ReelmillError):
    status, slug, title = 415, "unsupported-media-type", "The body is not JSON"


def invalid_request(exc: RequestValidationError) -> ReelmillError:
    """The public form of a FastAPI validation error: one FieldProblem per finding; the detail is the first of them."""
    if isinstance(exc.body, bytes):
        problem = FieldProblem("send `application/json`", "unsupported_media_type", header="Content-Type")
        return UnsupportedMediaType("send the body as JSON, and say so in its Content-Type", errors=(problem,))
    if any(error["loc"][0] == "path" for error in exc.errors()):  # a malformed id
        return NotFound("there is nothing at this path")
    problems = tuple(_to_field_problem(error, exc.body) for error in exc.errors()[:MAX_ERRORS])
    return InvalidRequest(_summarize(problems), errors=problems)


def json_pointer(loc: tuple[str | int, ...], body: Any) -> str:
    """The JSON pointer (RFC 6901, as a URI fragment) for a pydantic `loc`, which also contains tags of unions."""
    parts: list[str] = []
    for depth, step in enumerate(loc):
        if isinstance(body, dict) and step in body:
            body = body[step]
        elif isinstance(body, list) and isinstance(step, int):
            body = body[step] if step < len(body) else None
        elif not isinstance(body, dict) or depth < len(loc) - 1:
            continue  # the tag of a union; only the last step may name a field that is missing
        if len(str(step)) > MAX_NAME:
            break
        parts.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "#" + "".join("/" + quote(part, safe="!$&'()*+,;=:@-._~", errors="replace") for part in parts)


def _to_field_problem(error: dict[str, Any], body: Any) -> FieldProblem:
    origin, *rest = error["loc"]
    detail, code = _error_message(error)[:MAX_DETAIL], error["type"]
    if code == "json_invalid":
        return FieldProblem(f"not valid JSON, from character {rest[0] if rest else 0} on", code, pointer="#")
    if origin == "body":
        steps = tuple(rest[:-1] if rest and rest[-1] == "[key]" else rest)
        return FieldProblem(detail, code, pointer=json_pointer(steps, body))
    name = ".".join(str(step)[:MAX_NAME] for step in rest[:1])
    return FieldProblem(detail, code, header=name) if origin == "header" else FieldProblem(detail, code, parameter=name)


def _error_message(error: dict[str, Any]) -> str:
    """pydantic's message without the parts that quote the input."""
    text, code = str(error["msg"]), str(error["type"])
    if code.startswith("union_tag"):
        return f"Choose one of {error.get('ctx', {}).get('expected_tags', 'the documented kinds')}"
    if code.endswith("_parsing"):
        return text.partition(",")[0]
    return text.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _summarize(problems: tuple[FieldProblem, ...]) -> str:
    first = problems[0]
    place = first.pointer or first.parameter or first.header
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {first.detail}{more}"


RETRY_AFTER, RETRY_LATER = {"Retry-After": "5"}, {"Retry-After": "60"}
INTERNAL_ERROR_DETAIL = "something went wrong on our side; it was logged under the error_id"
# SQLSTATE classes: connection exception, insufficient resources, operator intervention (shutdown, crash).
_UNAVAILABLE_SQLSTATES = ("08", "53", "57P")
# The SQLSTATE of a statement that exceeded its time limit.
_QUERY_CANCELED = "57014"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


class BadRequest(ReelmillError):
    status, slug, title = 400, "bad-request", "The request cannot be read"


class RequestTimeout(ReelmillError):
    status, slug, title = 408, "request-timeout", "The request did not arrive in time"


class TargetTooLong(ReelmillError):
    status, slug, title = 414, "target-too-long", "The request line is too long"


class RequestHeadTooLarge(ReelmillError):
    status, slug, title = 431, "head-too-large", "The header fields of the request are too large"


class MethodNotAllowed(ReelmillError):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"


class ContentTooLarge(ReelmillError):
    status, slug, title = 413, "content-too-large", "The request body is too long"


def to_problem_error(exc: Exception, scope: Scope) -> ReelmillError:
    """The public form of `exc`. An unknown exception becomes a 500 without any details.

    The order of the checks matters: some exceptions match several of them.
    """
    if isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:  # raised by a streaming response
        return to_problem_error(exc.exceptions[0], scope)
    if isinstance(exc, ReelmillError):
        return exc
    if isinstance(exc, RequestValidationError):
        return invalid_request(exc)
    if isinstance(exc, HTTPException):
        return _framework_error(exc, scope)
    if isinstance(exc, ObjectNotFound):
        return NotFound("the object store has no such object (it may have been deleted)")
    if isinstance(exc, ObjectStoreFull) or is_out_of_space(exc):
        return ServiceUnavailable("there is no space left to store this: nothing was stored", headers=RETRY_LATER)
    if isinstance(exc, ObjectStoreError):
        return ServiceUnavailable("the object store did not answer; try again in a moment", headers=RETRY_AFTER)
    if isinstance(exc, sql.DBAPIError) and _sqlstate(exc.orig) == _QUERY_CANCELED:
        return GatewayTimeout("the database took longer over this than a request may: ask for less")
    if is_database_unavailable(exc):
        return ServiceUnavailable("the database did not answer; try again in a moment", headers=RETRY_AFTER)
    return ReelmillError(INTERNAL_ERROR_DETAIL)


def is_out_of_space(exc: BaseException) -> bool:
    """Whether the disk of the database, or of temporary files, is full."""
    if isinstance(exc, sql.DBAPIError):
        return _sqlstate(exc.orig) == DISK_FULL
    return isinstance(exc, OSError) and exc.errno in FULL_ERRORS


def is_database_unavailable(exc: BaseException) -> bool:
    """Whether `exc` means that PostgreSQL is unreachable or refuses to serve, rather than that a statement is wrong."""
    if isinstance(exc, sql.DBAPIError):
        is_lost = exc.connection_invalidated or isinstance(exc, sql.OperationalError | sql.InterfaceError)
        return is_lost or _sqlstate(exc.orig).startswith(_UNAVAILABLE_SQLSTATES)
    if isinstance(exc, sql.TimeoutError):  # every connection of the pool is in use
        return True
    if isinstance(exc, OSError):
        return _raised_in_package("asyncpg", exc.__traceback__)
    return _sqlstate(exc).startswith(_UNAVAILABLE_SQLSTATES)


def _sqlstate(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""


def _raised_in_package(package: str, trace: TracebackType | None) -> bool:
    """Whether a function of `package` is in the traceback: asyncpg raises plain OSError if it cannot connect."""
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            return True
        trace = trace.tb_next
    return False


def _framework_error(exc: HTTPException, scope: Scope) -> ReelmillError:
    """The public form of an error that Starlette or FastAPI raises by itself."""
    match exc.status_code:
        case 400:
            problem = FieldProblem("send one JSON document in UTF-8", "unreadable", pointer="#")
            return BadRequest("the body cannot be read", errors=(problem,))
        case 404:
            return NotFound("there is nothing at this path")
        case 405:
            allowed = ", ".join(allowed_methods(scope))
            return MethodNotAllowed(f"this path understands {allowed}", headers={"Allow": allowed})
        case 413:
            return ContentTooLarge(str(exc.detail))
        case _:
            return ReelmillError(INTERNAL_ERROR_DETAIL)


def allowed_methods(scope: Scope) -> list[str]:
    """The methods of all routes that match the path; Starlette reports those of the first route only."""
    base = {"type": "http", "path": scope["path"], "root_path": scope.get("root_path", ""), "headers": []}
    routes = scope["app"].router.routes
    matching = {
        method
        for method in _METHODS
        if any(route.matches({**base, "method": method})[0] is Match.FULL for route in routes)
    }
    return [method for method in _METHODS if method in matching or (method == "HEAD" and "GET" in matching)]

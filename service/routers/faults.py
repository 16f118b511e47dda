"""Every exception as one named error: what the caller reads about a failure, whoever raised it."""

from types import TracebackType

from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc as sql
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from service.errors import FieldProblem, GatewayTimeout, NotFound, ReelmillError, ServiceUnavailable
from service.routers.validation import invalid_request
from service.store.objects import ObjectNotFound, ObjectStoreError

RETRY_AFTER = {"Retry-After": "5"}
_UNAVAILABLE_SQLSTATES = ("08", "53", "57P")
"""SQLSTATE classes: connection exception, insufficient resources, operator intervention (shutdown, crash)."""
_QUERY_CANCELED = "57014"
"""SQLSTATE of a statement that ran into its time limit."""
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

"""Errors shown to API clients, each with its HTTP status and title, and the base of those that interrupt work."""

from dataclasses import dataclass, field
from typing import Any


class Interruption(Exception):
    """Ends work for a reason outside its data: an outage, a lost device, a request to stop. Never a fault of media."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One invalid field: a JSON pointer into the body, a query parameter, or a header."""

    detail: str
    code: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None


@dataclass(eq=False)
class ReelmillError(Exception):
    """Base of all errors shown to API clients. `detail` is public and says what to do next.

    `extensions` are additional public members of the problem document (RFC 9457, 3.2).
    """

    detail: str
    errors: tuple[FieldProblem, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    status = 500
    slug = "internal-error"
    title = "Internal server error"
    is_fault = True  # with status 500 and above: something for an operator to look at

    def __str__(self) -> str:
        return self.detail


class InvalidRequest(ReelmillError):
    status, slug, title = 422, "validation-error", "The request is not valid"


class QueryRefusal(ReelmillError):
    status, slug, title = 422, "query-refused", "A guardrail refused the query"


class Unauthenticated(ReelmillError):
    status, slug, title = 401, "unauthenticated", "Authentication is required"


class Forbidden(ReelmillError):
    status, slug, title = 403, "forbidden", "Permission denied"


class NotFound(ReelmillError):
    status, slug, title = 404, "not-found", "Not found"


class Conflict(ReelmillError):
    status, slug, title = 409, "conflict", "The request conflicts with the current state"


class PreconditionFailed(ReelmillError):
    status, slug, title = 412, "precondition-failed", "The state is not the one the request expects"


class RangeNotSatisfiable(ReelmillError):
    status, slug, title = 416, "range-not-satisfiable", "Range not satisfiable"


class TooManyRequests(ReelmillError):
    status, slug, title = 429, "too-many-requests", "Too many requests"


class ServiceUnavailable(ReelmillError):
    status, slug, title = 503, "unavailable", "A service this request needs is unavailable"


class NotReadyYet(ServiceUnavailable):
    """It is being made: the client is to ask again after the seconds of `Retry-After`."""

    is_fault = False


class QueueFull(ReelmillError):
    status, slug, title = 503, "queue-full", "The queue is full"


class GatewayTimeout(ReelmillError):
    status, slug, title = 504, "timed-out", "The answer took too long"


class StartupError(Exception):
    """Configuration that cannot work. The message is one line that names the variable, never a secret."""

    exit_code = 78


def invalid_field(pointer: str, detail: str, code: str) -> InvalidRequest:
    """A 422 about one field of the request body; `pointer` is written as `#/a/b`."""
    return InvalidRequest(detail, errors=(FieldProblem(detail, code, pointer=pointer),))


def first_line(error: BaseException) -> str:
    """The exception's type and first line; some libraries append pages of advice."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__

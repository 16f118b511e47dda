"""What the client raises. Each error says in one line what happened and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it is slow to import
    import httpx

CHECK_URL = "does REELMILL_URL name a Reelmill service of this version?"


class ReelmillError(Exception):
    """Base of all errors of the client."""


class Misconfigured(ReelmillError):
    """The address, the token or the name of the service's home is wrong; the text names it."""


class Unreachable(ReelmillError):
    """The service did not answer, also not after further attempts."""


class BrokenOff(Unreachable):
    """A stream ended before its end."""


class Refused(ReelmillError):
    """The service answered with a problem document (RFC 9457), whose members are in `problem`.

    `errors` are the invalid fields: each with `detail`, `code` and one of `pointer`, `parameter`, `header`.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.problem = status, problem
        self.errors: Sequence[Mapping[str, Any]] = problem.get("errors") or ()
        self.detail = "; ".join(map(_field_text, self.errors)) or str(problem.get("detail") or problem.get("title"))
        super().__init__(f"{self.detail} ({status})")


class NotAuthenticated(Refused):
    """The token is missing, wrong or expired."""


class NotPermitted(Refused):
    """The token lacks a scope, or somebody else owns it."""


class NotFound(Refused):
    """There is no such thing, or the caller may not see it."""


class Conflict(Refused):
    """It is not in a state in which that can be done."""


class Invalid(Refused):
    """A field is wrong: see `errors`."""


class Busy(Refused):
    """The service had no time, room or server for it, for longer than the client waits."""


class UnexpectedAnswer(Refused):
    """What answered is no Reelmill service of this version."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(status, {"detail": f"{what}: {CHECK_URL}"})


class RenderFailed(ReelmillError):
    """A render did not succeed; `status` is its last status."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self.status = status
        reason = (status.get("error") or {}).get("reason", "no reason was given")
        outcome = "was cancelled" if status["status"] == "cancelled" else status["status"]
        super().__init__(f"the render {outcome}: {reason}")


class DownloadDiffers(ReelmillError):
    """The downloaded bytes are not those of the receipt. Nothing was kept."""


class FolderError(ReelmillError):
    """A local folder cannot be uploaded; the text says why."""


_BY_STATUS: dict[int, type[Refused]] = {
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    422: Invalid,
    429: Busy,
    503: Busy,
}


def error_of(response: httpx.Response) -> Refused:
    """The error that an unsuccessful response, which has been read, stands for."""
    return refusal(response.status_code, _problem_of(response))


def refusal(status: int, problem: Mapping[str, Any]) -> Refused:
    return _BY_STATUS.get(status, Refused)(status, problem)


def problem_of(response: httpx.Response) -> str:
    """In one line."""
    return error_of(response).detail


def _problem_of(response: httpx.Response) -> Mapping[str, Any]:
    unknown = {"detail": f"unexpected response {response.status_code}"}
    try:
        problem = json.loads(response.content)
    except (ValueError, RecursionError):
        return unknown
    if not isinstance(problem, dict) or not isinstance(problem.get("detail") or problem.get("title"), str):
        return unknown
    errors = problem.get("errors")
    if not isinstance(errors, list) or not all(isinstance(each, dict) and "detail" in each for each in errors):
        return {**problem, "errors": ()}
    return problem


def _field_text(field: Mapping[str, Any]) -> str:
    return f"{field.get('pointer') or field.get('parameter') or field.get('header')}: {field['detail']}"

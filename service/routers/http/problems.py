"""Error responses as application/problem+json (RFC 9457), logged under the same error_id."""

import json
import secrets
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ReelmillError
from service.identity.tokens import BEARER_CHALLENGE
from service.routers.http.exception_mapping import to_problem_error
from service.telemetry.request_log import describe_request

log = structlog.get_logger("service.problems")
MEDIA_TYPE = "application/problem+json"
# Characters of the path that a problem repeats.
MAX_INSTANCE = 1000
# Headers that every response with this status has, whatever raised the error.
REQUIRED_HEADERS = {401: {"WWW-Authenticate": BEARER_CHALLENGE}, 429: {"Retry-After": "5"}, 503: {"Retry-After": "5"}}


class FieldError(BaseModel):
    """One invalid field, parameter or header of a request."""

    detail: str
    code: str = Field(examples=["missing"])
    pointer: str | None = Field(None, description="JSON pointer into the body", examples=["#/fps"])
    parameter: str | None = Field(None, description="name of the path or query parameter")
    header: str | None = Field(None, description="name of the header")


class Guardrail(BaseModel):
    """A guardrail that the query violates."""

    rule: str = Field(examples=["rows"])
    limit: int = Field(examples=[1000])
    actual: int = Field(examples=[5000])
    suggestion: str = Field(examples=["ask for at most 1000 rows and follow next_cursor"])


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is nothing at this path"])
    instance: str = Field(description="path of the request", examples=["/api/experiments/nowhere"])
    error_id: str = Field(description="finds the log line with more details", examples=["c0ffee123456"])
    errors: list[FieldError] | None = Field(
        None, description="with status 422: every invalid field, parameter or header"
    )
    guardrails: list[Guardrail] | None = Field(None, description="of refused queries: every violated rule")
    steps: list[dict[str, Any]] | None = Field(
        None, description="of a question to the agent: the steps taken before the error"
    )
    used_bytes: int | None = Field(None, description="of an exceeded quota: what counts for it")
    allowed_bytes: int | None = Field(None, description="of an exceeded quota: how much may be stored")
    needed_bytes: int | None = Field(None, description="of an exceeded quota: what this request would add")
    stored_files: int | None = Field(
        None, description="of an upload of many files that broke off: how many of the first are stored"
    )


class ItemProblem(BaseModel):
    """Why one of the many items of a request was refused: the members of a problem."""

    type: str = Field(examples=["/problems/validation-error"])
    title: str = Field(examples=["The request is not valid"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["a link is not stored: send the file that it leads to"])


def to_item_problem(exc: Exception, scope: Scope) -> ItemProblem:
    """The public form of what is wrong with one item of a request that goes on without it."""
    error = to_problem_error(exc, scope)
    return ItemProblem(type=_type_of(error), title=error.title, status=error.status, detail=error.detail)


class ProblemBoundary:
    """Turns every exception that reaches it into a problem response. Runs inside the access log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def track_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, track_start)
        except ClientDisconnect:
            return
        except Exception as exc:
            if scope["type"] != "http":
                raise
            response = problem_response(exc, scope)
            if started:  # closes the connection, so that the client does not take the response for complete
                raise
            await response(scope, receive, send)


def install_error_handlers(app: FastAPI) -> None:
    """Replace the error responses of the framework. ProblemBoundary handles all other exceptions."""

    async def handle(request: Request, exc: Exception) -> Response:
        return problem_response(exc, request.scope)

    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, handle)


def problem_response(exc: Exception, scope: Scope) -> Response:
    """The response for `exc`, which is logged under a new error_id."""
    error = to_problem_error(exc, scope)
    document = json.dumps(problem_document(exc, error, scope))
    return Response(document, error.status, response_headers(error), MEDIA_TYPE)


def response_headers(error: ReelmillError) -> dict[str, str]:
    """The headers of the error's response, with those that its status requires."""
    return REQUIRED_HEADERS.get(error.status, {}) | error.headers


def problem_document(exc: Exception, error: ReelmillError, scope: Scope) -> dict[str, Any]:
    """What the caller is told of `error`, whose cause `exc` is logged under a new error_id."""
    scope.setdefault("state", {})["error_id"] = secrets.token_hex(6)
    _log_problem(exc, error, scope)
    return _problem_body(error, scope)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that may answer with a Problem of these statuses."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def problem_schemas() -> dict[str, Any]:
    """The schemas of Problem and of the models it contains, for `components.schemas`."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}


def _problem_body(error: ReelmillError, scope: Scope) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": _type_of(error),
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": quote(scope["path"][:MAX_INSTANCE], errors="replace"),
        "error_id": scope["state"]["error_id"],
    }
    if error.errors:
        problems = (asdict(problem) for problem in error.errors)
        body["errors"] = [{key: value for key, value in fields.items() if value is not None} for fields in problems]
    return error.extensions | body


def _type_of(error: ReelmillError) -> str:
    return f"/problems/{error.slug}"


def _log_problem(exc: Exception, error: ReelmillError, scope: Scope) -> None:
    """Log faults of the service with traceback and request, and others with the reason, which may not be public."""
    facts: dict[str, Any] = {"error_id": scope["state"]["error_id"], "slug": error.slug, "status": error.status}
    is_fault = scope["state"]["is_fault"] = error.status >= 500 and error.is_fault
    if not is_fault:
        log.info("problem", **facts, reason=str(exc.__cause__ or error.detail))
        return
    facts["user"] = getattr(scope["state"].get("identity"), "subject", None)
    log.error("problem", **facts, request=describe_request(scope), exc_info=exc)

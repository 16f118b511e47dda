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
# Headers that an answer with this status has, whoever raised it.
REQUIRED_HEADERS = {401: {"WWW-Authenticate": BEARER_CHALLENGE}, 429: {"Retry-After": "5"}, 503: {"Retry-After": "5"}}


class FieldError(BaseModel):
    """One offending place of a request."""

    detail: str
    code: str = Field(examples=["missing"])
    pointer: str | None = Field(None, description="JSON pointer into the body", examples=["#/fps"])
    parameter: str | None = Field(None, description="name of the path or query parameter")
    header: str | None = Field(None, description="name of the header")


class Guardrail(BaseModel):
    """A rule of the guard that was broken."""

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
    instance: str = Field(description="the path that was asked for", examples=["/api/experiments/nowhere"])
    error_id: str = Field(description="the log has more under this id", examples=["c0ffee123456"])
    errors: list[FieldError] | None = Field(None, description="with status 422: every offending place")
    guardrails: list[Guardrail] | None = Field(None, description="of refused queries: every rule that was broken")
    steps: list[dict[str, Any]] | None = Field(None, description="of a question to the agent: what was done until then")


class ProblemBoundary:
    """Pure ASGI, inside the access log: whatever escapes becomes a problem, so that nothing else answers errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as exc:
            if scope["type"] != "http":
                raise
            response = problem_response(exc, scope)
            if started:  # too late for another answer: break the connection, so that nobody takes it for complete
                raise
            await response(scope, receive, send)


def install_error_handlers(app: FastAPI) -> None:
    """Replace the answers of the framework; the boundary catches everything else."""

    async def answer(request: Request, exc: Exception) -> Response:
        return problem_response(exc, request.scope)

    for kind in (HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer)


def problem_response(exc: Exception, scope: Scope) -> Response:
    """The response to `exc`, logged under a fresh error_id."""
    error, error_id = to_problem_error(exc, scope), secrets.token_hex(6)
    scope.setdefault("state", {})["error_id"] = error_id
    _log_problem(exc, error, scope)
    headers = REQUIRED_HEADERS.get(error.status, {}) | error.headers
    return Response(json.dumps(_problem_body(error, scope)), error.status, headers, MEDIA_TYPE)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route or router: these statuses are answered with a Problem."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def problem_schemas() -> dict[str, Any]:
    """The components that `described` refers to."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}


def _problem_body(error: ReelmillError, scope: Scope) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": quote(scope["path"], errors="replace"),
        "error_id": scope["state"]["error_id"],
    }
    if error.errors:
        places = (asdict(place) for place in error.errors)
        body["errors"] = [{key: value for key, value in place.items() if value is not None} for place in places]
    return error.extensions | body


def _log_problem(exc: Exception, error: ReelmillError, scope: Scope) -> None:
    """Above 499 with the trace and what it takes to ask the same again; below, with the reason that was not told."""
    facts: dict[str, Any] = {"error_id": scope["state"]["error_id"], "slug": error.slug, "status": error.status}
    if error.status < 500:
        log.info("problem", **facts, reason=str(exc.__cause__ or error.detail))
        return
    facts["user"] = getattr(scope["state"].get("identity"), "subject", None)
    log.error("problem", **facts, request=describe_request(scope), exc_info=exc)

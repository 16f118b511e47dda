"""POST /api/videos/batch: many render requests, each accepted or refused by itself."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError
from starlette.types import Scope

from service.errors import FieldProblem, ServiceUnavailable
from service.routers.http.content_negotiation import JSON
from service.routers.http.dependencies import CallerDep, ResourcesDep, require_scope
from service.routers.http.exception_mapping import is_database_unavailable, to_problem_error
from service.routers.http.fields import EXAMPLE_EXPERIMENT_ID, RequestModel, StorableText, at_most
from service.routers.http.problems import Problem, problem_document, response_headers
from service.routers.videos.generate import Submitter, status_of
from service.routers.videos.models import EXAMPLE_ESTIMATE, EXAMPLE_JOB_ID, EXAMPLE_STAGES, DryRun, JobAccepted
from service.routers.videos.request_models import VideoGenerationRequest
from service.store.objects.object_store import ObjectStoreError
from service.telemetry.metrics import BATCH_REQUESTS

log = structlog.get_logger("service.batches")
BATCH_PATH = re.compile("/api/videos/batch")
MAX_RENDERS = 1000
# Findings that are told of one request: a thousand requests must not make an endless answer.
MAX_ERRORS = 5
KEY_FIELD = "idempotency_key"
EXAMPLE_RENDER: dict[str, Any] = {"experiment_id": EXAMPLE_EXPERIMENT_ID, "preset": "daily overview", "fps": 24}

EXAMPLE_ANSWER: dict[str, Any] = {
    "index": 0,
    "status": 202,
    "job": {
        "job_id": EXAMPLE_JOB_ID,
        "status": "queued",
        "status_url": f"/api/videos/{EXAMPLE_JOB_ID}",
        "video_url": None,
        "estimate": EXAMPLE_ESTIMATE,
        "plan": EXAMPLE_STAGES,
    },
    "problem": None,
    "retry_after": None,
}


class RequestNotTried(ServiceUnavailable):
    """What is left of a batch after an outage, which was logged with the request that found it."""

    is_fault = False


class BatchRender(VideoGenerationRequest):
    """One render, as in the body of POST /api/videos/generate."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_RENDER]})
    idempotency_key: Annotated[str, StorableText] | None = Field(
        None, min_length=1, max_length=200, description="as the header `Idempotency-Key` of a single request"
    )


class RenderBatch(RequestModel):
    """The render requests. Each is checked by itself, so that a wrong one is refused without the others."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"renders": [EXAMPLE_RENDER, EXAMPLE_RENDER | {KEY_FIELD: "2026-03-01"}]}]}
    )
    renders: Annotated[list[Annotated[BatchRender, SkipValidation]], at_most(MAX_RENDERS)] = Field(
        min_length=1, max_length=MAX_RENDERS, description="they are answered in this order"
    )


class BatchAnswer(BaseModel):
    """What POST /api/videos/generate would have answered to one of the requests."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ANSWER]})
    index: int = Field(description="position in `renders`")
    status: int = Field(description="200, 202, or the status of the problem")
    job: JobAccepted | DryRun | None = Field(description="null if the request was refused")
    problem: Problem | None = Field(description="why it was refused; pointers lead into the body of the batch")
    retry_after: int | None = Field(description="seconds to wait before a retry, with status 429, 503 and some others")


router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require_scope("videos:render"))])


@router.post(
    "/batch",
    summary="Render many videos",
    response_class=StreamingResponse,
    responses={200: {"description": "An answer to each request", "model": list[BatchAnswer]}},
)
async def render_batch(body: RenderBatch, request: Request, caller: CallerDep, resources: ResourcesDep) -> Response:
    """Accepts or refuses up to 1,000 render requests, one after the other, and answers 200 with what each of them would
    have been answered alone, as soon as it is known. A refused one does not undo others; those that were accepted stay
    accepted if the connection breaks, so send an `idempotency_key` with each. How many renders a caller may have
    unfinished holds here, too. When the database or the object store is unavailable, the rest is not tried."""
    answers = _answers(Submitter(resources, caller), body.renders, request.scope)
    return StreamingResponse(_json_list(answers), media_type=JSON)


async def _json_list(items: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    before = "["
    async for item in items:
        yield before + json.dumps(item)
        before = ",\n"
    yield "]\n"


async def _answers(submitter: Submitter, renders: Sequence[Any], scope: Scope) -> AsyncIterator[dict[str, Any]]:
    statuses, is_outage = Counter[int](), False
    try:
        for index, document in enumerate(renders):
            try:
                if is_outage:
                    raise RequestNotTried("a request before this one found a service unavailable: send the rest again")
                accepted = await _submit(submitter, index, document)
                answer = _acceptance(index, accepted)
            except Exception as error:
                answer = _refusal(index, error, scope)
                is_outage = is_outage or isinstance(error, ObjectStoreError) or is_database_unavailable(error)
            statuses[answer["status"]] += 1
            BATCH_REQUESTS.labels(answer["status"]).inc()
            yield answer
            await asyncio.sleep(0)  # requests that are refused at once have not let others run
    finally:
        told = {str(status): count for status, count in sorted(statuses.items())}
        log.info("batch answered", user=submitter.caller.subject, renders=len(renders), statuses=told)


async def _submit(submitter: Submitter, index: int, document: Any) -> JobAccepted | DryRun:
    """Raises RequestValidationError, as FastAPI does for a body, and what `Submitter.submit` does."""
    try:
        render = BatchRender.model_validate(document)
    except ValidationError as error:
        findings = error.errors(include_url=False)[:MAX_ERRORS]
        located = [finding | {"loc": ("body", "renders", index, *finding["loc"])} for finding in findings]
        # The places are looked up in the body: only this part of it is.
        raise RequestValidationError(located, body={"renders": {index: document}}) from error
    return await submitter.submit(render, render.idempotency_key)


def _acceptance(index: int, accepted: JobAccepted | DryRun) -> dict[str, Any]:
    job = accepted.model_dump(mode="json")
    return {"index": index, "status": status_of(accepted), "job": job, "problem": None, "retry_after": None}


def _refusal(index: int, cause: Exception, scope: Scope) -> dict[str, Any]:
    error = to_problem_error(cause, scope)
    if not isinstance(cause, RequestValidationError):  # whose places are in the body of the batch already
        error = copy(error)
        error.errors = tuple(_locate(problem, f"#/renders/{index}") for problem in error.errors)
    own_scope = dict(scope, state=dict(scope.get("state", {})))
    problem, wait = problem_document(cause, error, own_scope), response_headers(error).get("Retry-After")
    retry_after = int(wait) if wait else None
    return {"index": index, "status": error.status, "job": None, "problem": problem, "retry_after": retry_after}


def _locate(problem: FieldProblem, base: str) -> FieldProblem:
    """The same in the body of the batch."""
    if problem.header is not None:
        return replace(problem, header=None, pointer=f"{base}/{KEY_FIELD}")
    return replace(problem, pointer=base + problem.pointer.removeprefix("#")) if problem.pointer else problem

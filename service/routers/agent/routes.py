"""POST /api/agent/query, answered as JSON or as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import Scope

from service.agent.agent import Agent
from service.agent.session import TraceStep
from service.plan.estimate import Estimate
from service.routers.agent.answers import AgentAnswer, AgentQuestion, AgentStep
from service.routers.agent.context import read_context, sign_context
from service.routers.http.content_negotiation import EVENT_STREAM, prefers_events
from service.routers.http.dependencies import CallerDep, ResourcesDep, require_scope
from service.routers.http.exception_mapping import invalid_request, to_problem_error
from service.routers.http.problems import error_responses, problem_document
from service.routers.http.signing import SignerDep
from service.routers.videos.generate import Submitter
from service.routers.videos.request_models import VideoGenerationRequest

OnStep = Callable[[TraceStep], None]
router = APIRouter(prefix="/api/agent", tags=["agent"])
EXAMPLE_EVENT = 'event: step\ndata: {"name": "classify", "outcome": "done", "detail": "renders"}\n\n'


async def get_agent(request: Request) -> Agent:
    agent: Agent = request.app.state.agent
    return agent


@router.post(
    "/query",
    summary="Ask in plain words",
    response_model=AgentAnswer,
    responses=error_responses(429, 504) | {200: {"content": {EVENT_STREAM: {"example": EXAMPLE_EVENT}}}},
    dependencies=[Depends(require_scope("agent:ask"))],
)
async def ask_agent(
    question: AgentQuestion,
    request: Request,
    caller: CallerDep,
    resources: ResourcesDep,
    agent: Annotated[Agent, Depends(get_agent)],
    signer: SignerDep,
) -> AgentAnswer | Response:
    """Answers from data that you may see: the agent can only run guarded queries, with your permissions. Common
    questions need no model; others need Ollama (503 without it). Renders are prepared, never started. `steps` lists
    what was done, by which model, and the outcome; with `Accept: text/event-stream` each is an event `step` as soon as
    it was taken, and the last event is `answer` or `problem`."""
    previous = read_context(signer, caller.subject, question.context)

    async def estimate_render(request: dict[str, Any]) -> Estimate:
        return await Submitter(resources, caller).estimate(_validate(request))

    async def ask(on_step: OnStep | None = None) -> AgentAnswer:
        reply = await agent.ask(caller, question.query, previous, on_step, estimate_render)
        return AgentAnswer.from_reply(reply, sign_context(signer, caller.subject, question.query, reply))

    if prefers_events(request):
        return EventSourceResponse(stream_answer(ask, request.scope))
    return await ask()


def _validate(request: dict[str, Any]) -> VideoGenerationRequest:
    """Raises InvalidRequest, as the body of a request does."""
    try:
        return VideoGenerationRequest.model_validate(request)
    except ValidationError as error:
        located = [finding | {"loc": ("body", *finding["loc"])} for finding in error.errors(include_url=False)]
        raise invalid_request(RequestValidationError(located, body=request)) from error


async def stream_answer(ask: Callable[[OnStep], Awaitable[AgentAnswer]], scope: Scope) -> AsyncIterator[bytes]:
    """`step` events while steps are taken, then `answer` or `problem`. A client that goes away ends the question."""
    steps: asyncio.Queue[TraceStep | None] = asyncio.Queue()
    asking = asyncio.ensure_future(ask(steps.put_nowait))
    asking.add_done_callback(lambda _: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            yield _event("step", AgentStep.model_validate(step).model_dump(mode="json"))
        try:
            answer = await asking
        except Exception as error:
            yield _event("problem", problem_document(error, to_problem_error(error, scope), scope))
        else:
            yield _event("answer", answer.model_dump(mode="json"))
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


def _event(name: str, data: Any) -> bytes:
    return format_sse_event(event=name, data_str=json.dumps(data))

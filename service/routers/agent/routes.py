"""POST /api/agent/query."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse
from starlette.responses import Response

from service.agent.agent import Agent
from service.routers.agent.answers import AgentAnswer, AgentQuestion
from service.routers.agent.context import read_context, sign_context
from service.routers.agent.stream import OnStep, stream_answer
from service.routers.http.content_negotiation import EVENT_STREAM, prefers_events
from service.routers.http.dependencies import CallerDep, require_scope
from service.routers.http.problems import error_responses
from service.routers.http.signing import SignerDep

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
    agent: Annotated[Agent, Depends(get_agent)],
    signer: SignerDep,
) -> AgentAnswer | Response:
    """Answers from data that you may see: the agent can only run guarded queries, with your permissions. Common
    questions need no model; others need Ollama (503 without it). Renders are prepared, never started. `steps` lists
    what was done, by which model, and the outcome; with `Accept: text/event-stream` each is an event `step` as soon as
    it was taken, and the last event is `answer` or `problem`."""
    previous = read_context(signer, caller.subject, question.context)

    async def ask(on_step: OnStep | None = None) -> AgentAnswer:
        reply = await agent.ask(caller, question.query, previous, on_step)
        return AgentAnswer.from_reply(reply, sign_context(signer, caller.subject, question.query, reply))

    if prefers_events(request):
        return EventSourceResponse(stream_answer(ask, request.scope))
    return await ask()

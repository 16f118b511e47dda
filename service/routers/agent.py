"""Questions in plain words."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from service.agent.agent import Agent
from service.routers.agent_models import AgentAnswer, AgentQuestion
from service.routers.deps import CallerDep, require_scope
from service.routers.problems import error_responses

router = APIRouter(prefix="/api/agent", tags=["agent"])


async def get_agent(request: Request) -> Agent:
    found: Agent = request.app.state.agent
    return found


@router.post(
    "/query",
    summary="Ask in plain words",
    response_model=AgentAnswer,
    responses=error_responses(429, 504),
    dependencies=[Depends(require_scope("agent:ask"))],
)
async def ask_agent(
    question: AgentQuestion, caller: CallerDep, agent: Annotated[Agent, Depends(get_agent)]
) -> AgentAnswer:
    """Answers from what you may see, and nothing else: the agent only ever writes guarded queries, which run as you.
    Common questions need no model; the others need Ollama (503 without it). A render is prepared, never started.
    `steps` tells what was done, by which model, and what came of it."""
    return AgentAnswer.from_reply(await agent.ask(caller, question.query))

"""POST /api/agent/query: the route and its models."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from service.agent.agent import Agent, Reply
from service.agent.ollama_client import ModelRole
from service.agent.session import RenderSuggestion, StepName, StepOutcome
from service.guard.document import Document
from service.json_values import storable_text
from service.routers.http.dependencies import CallerDep, require_scope
from service.routers.http.problems import error_responses
from service.routers.videos.models import VideoGenerationRequest

QuestionText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000), AfterValidator(storable_text)
]
# Only what was set: it can be sent on as it is.
SET_FIELDS_ONLY = PlainSerializer(
    lambda value: value and value.model_dump(mode="json", by_alias=True, exclude_unset=True)
)


class AgentQuestion(BaseModel):
    """A question in plain words."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"query": "latest experiments"}]})
    query: QuestionText = Field(examples=["how many frames has 2026-03-zebrafish?"])


class AgentStep(BaseModel):
    """What was done."""

    model_config = ConfigDict(from_attributes=True)
    name: StepName = Field(description="`common`: recognised without a model")
    model: str | None = Field(description="which model was asked", examples=["llama3.1:8b"])
    ms: float
    outcome: StepOutcome
    detail: str = Field(examples=["1 rows of datasets"])


class AgentAnswer(BaseModel):
    """Words, and what they are made from. Models may err: the rows are what the database said."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "answer": "There are 3 experiments that you may see.",
                    "document": {"table": "experiments", "aggregates": [{"function": "count"}], "limit": 100},
                    "rows": [{"count": 3}],
                    "truncated": False,
                    "models": {},
                    "steps": [
                        {"name": "common", "model": None, "ms": 6.2, "outcome": "done", "detail": ""},
                        {
                            "name": "query",
                            "model": None,
                            "ms": 5.9,
                            "outcome": "done",
                            "detail": "1 rows of experiments",
                        },
                    ],
                    "suggested_render": None,
                }
            ]
        }
    )
    answer: str
    document: Annotated[Document | None, SET_FIELDS_ONLY] = Field(
        description="the guarded query that ran, for `POST /api/database/query`"
    )
    rows: list[dict[str, Any]] = Field(description="its rows")
    truncated: bool = Field(description="whether there are more")
    models: dict[ModelRole, str] = Field(description="the models that were asked", examples=[{"fast": "llama3.2:3b"}])
    steps: list[AgentStep]
    suggested_render: Annotated[VideoGenerationRequest | None, SET_FIELDS_ONLY] = Field(
        description="prepared for `POST /api/videos/generate`; nothing was started"
    )

    @classmethod
    def from_reply(cls, reply: Reply) -> "AgentAnswer":
        return cls(
            answer=reply.answer,
            document=reply.document,
            rows=reply.rows,
            truncated=reply.truncated,
            models=reply.models,
            steps=[AgentStep.model_validate(step) for step in reply.steps],
            suggested_render=_to_render_request(reply.suggestion) if reply.suggestion else None,
        )


def _to_render_request(suggestion: RenderSuggestion) -> VideoGenerationRequest:
    return VideoGenerationRequest.model_validate(asdict(suggestion))


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

"""What the agent's route takes and gives."""

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from service.agent.agent import Reply
from service.agent.desk import RenderSuggestion
from service.agent.journal import StepName, StepOutcome
from service.agent.models import ModelRole
from service.guard.document import Document, storable_text
from service.routers.video_models import VideoGenerationRequest

QuestionText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000), AfterValidator(storable_text)
]
SET_FIELDS_ONLY = PlainSerializer(
    lambda value: value and value.model_dump(mode="json", by_alias=True, exclude_unset=True)
)
"""Only what was set: it can be sent on as it is."""


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

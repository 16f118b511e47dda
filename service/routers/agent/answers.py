"""The question and the answer of `POST /api/agent/query`."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

from service.agent.agent import Reply
from service.agent.ollama_client import ModelRole
from service.agent.session import StepName, StepOutcome
from service.guard.document import Document
from service.routers.http.fields import RequestModel, StorableText
from service.routers.videos.models import EstimateModel
from service.routers.videos.request_models import VideoGenerationRequest

MAX_CONTEXT = 32_768
ContextToken = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CONTEXT)]
QuestionText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000), StorableText]
# Serializes only the fields that are set, so that clients can send the object as a request.
SET_FIELDS_ONLY = PlainSerializer(
    lambda value: value and value.model_dump(mode="json", by_alias=True, exclude_unset=True)
)


class AgentQuestion(RequestModel):
    """A question in plain language."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "latest experiments"}]})
    query: QuestionText = Field(examples=["how many frames has 2026-03-zebrafish?"])
    context: ContextToken | None = Field(
        None, description='`context` of the answer before, if the question refers to it: "and which of them failed?"'
    )


class AgentStep(BaseModel):
    """One step that the agent took."""

    model_config = ConfigDict(from_attributes=True)
    name: StepName = Field(description="`common`: recognised without a model")
    model: str | None = Field(description="the model that ran", examples=["llama3.1:8b"])
    ms: float
    outcome: StepOutcome
    detail: str = Field(examples=["1 rows of datasets"])


class AgentAnswer(BaseModel):
    """A text and the data behind it. Models can be wrong; the rows come from the database."""

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
                    "estimate": None,
                    "context": None,
                }
            ]
        }
    )
    answer: str
    document: Annotated[Document | None, SET_FIELDS_ONLY] = Field(
        description="the guarded query that ran; can be sent to `POST /api/database/query`"
    )
    rows: list[dict[str, Any]] = Field(description="rows of the query")
    truncated: bool = Field(description="whether there are more rows")
    models: dict[ModelRole, str] = Field(description="the models that ran, by role", examples=[{"fast": "llama3.2:3b"}])
    steps: list[AgentStep]
    suggested_render: Annotated[VideoGenerationRequest | None, SET_FIELDS_ONLY] = Field(
        description="a prepared request for `POST /api/videos/generate`; no render was started"
    )
    estimate: EstimateModel | None = Field(description="what `suggested_render` would cost, as `dry_run` says")
    context: str | None = Field(
        description="send it with a question that refers to this one, within an hour; null if no query ran"
    )

    @classmethod
    def from_reply(cls, reply: Reply, context: str | None) -> "AgentAnswer":
        suggestion = reply.suggestion
        return cls(
            answer=reply.answer,
            document=reply.document,
            rows=reply.rows,
            truncated=reply.truncated,
            models=reply.models,
            steps=[AgentStep.model_validate(step) for step in reply.steps],
            context=context,
            suggested_render=VideoGenerationRequest.model_validate(suggestion.request) if suggestion else None,
            estimate=EstimateModel(**suggestion.estimate.to_json()) if suggestion and suggestion.estimate else None,
        )

"""Prepare a render request, which is suggested to the user and never sent."""

import math
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.agent.lookup import NameReference, Row, find_by_name
from service.agent.session import QuerySession, RenderSuggestion, TextAnswer

DEFAULT_FPS, DEFAULT_DECIMATION = 30.0, 1


class RenderIntent(BaseModel):
    """What to render and how fast. The bounds are those of `POST /api/videos/generate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    experiment: Annotated[
        str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), Field(description="name or id")
    ]
    fps: float = Field(DEFAULT_FPS, ge=0.1, le=240, description="frames per second of the video")
    decimation_factor: int = Field(DEFAULT_DECIMATION, ge=1, le=100_000, description="keep one frame in this many")


def describe_validation_error(error: ValidationError) -> str:
    """The errors of the first 10 fields, without the input."""
    errors = error.errors(include_input=False, include_url=False)[:10]
    return "; ".join(f"{'/'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in errors)


async def prepare_from_fields(session: QuerySession, name: NameReference, fields: dict[str, Any]) -> TextAnswer:
    """Prepare a render from fields that a common question contains."""
    try:
        intent = RenderIntent.model_validate(fields | {"experiment": name.candidates[-1]})
    except ValidationError as error:
        return TextAnswer(f"That cannot be rendered: {describe_validation_error(error)}.")
    return await prepare_render(session, name, intent)


async def prepare_render(session: QuerySession, name: NameReference, intent: RenderIntent) -> TextAnswer:
    """Prepare a render of the newest ready dataset of that name, or explain why there is none."""
    found = await find_by_name(session, name)
    if found.experiments:
        empty = found.experiments[0]["name"]
        return TextAnswer(f"The experiment {empty} has no datasets, so there is nothing to render.")
    if not found.datasets:
        return unknown_name_answer(name)
    if len({row["experiment_id"] for row in found.datasets}) > 1:
        several = "; ".join(_describe_dataset(row) for row in found.datasets)
        return TextAnswer(f"Several experiments have something of that name, so say which one by its id: {several}.")
    ready = [row for row in found.datasets if row["state"] == "ready" and row["frame_count"]]
    if not ready:
        states = "; ".join(
            f"dataset {row['name']} is {row['state']} and has {row['frame_count']:,} frames" for row in found.datasets
        )
        return TextAnswer(f"There is nothing to render yet: {states}.")
    return _suggest_render(ready[0], intent, others=ready[1:])


def unknown_name_answer(name: NameReference) -> TextAnswer:
    """The answer if the caller can see nothing of that name."""
    return TextAnswer(
        f"There is no experiment or dataset named {name.candidates[-1]} that you may see.", is_final=name.is_unambiguous
    )


def _suggest_render(row: Row, intent: RenderIntent, others: list[Row]) -> TextAnswer:
    frames = math.ceil(row["frame_count"] / intent.decimation_factor)
    decimation = "every frame" if intent.decimation_factor == 1 else f"one frame in {intent.decimation_factor:,}"
    text = (
        f"Prepared, but not started: {_describe_dataset(row)} with {decimation} at {intent.fps:g} fps, about {frames:,}"
        f" frames or {frames / intent.fps:,.1f} s of video. suggested_render is the request that starts it."
    )
    if others:
        text += f" This is the newest dataset; there are also {', '.join(str(other['name']) for other in others)}."
    ids = UUID(row["experiment_id"]), UUID(row["id"])
    return TextAnswer(text, suggestion=RenderSuggestion(*ids, intent.decimation_factor, intent.fps))


def _describe_dataset(row: Row) -> str:
    return f"dataset {row['name']} of experiment {row['experiment_name']} ({row['experiment_id']})"

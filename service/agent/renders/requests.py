"""Prepare a render request, which is suggested to the user and never sent."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.agent.lookup import NameReference, Row, find_by_name
from service.agent.renders.acceptance import find_accepted
from service.agent.renders.options import RequestedOptions
from service.agent.session import QuerySession, RenderSuggestion, TextAnswer
from service.errors import Conflict, InvalidRequest, NotFound, ReelmillError

DEFAULT_FPS, DEFAULT_DECIMATION = 30.0, 1


class RenderIntent(BaseModel):
    """What to render and how fast. The bounds are those of `POST /api/videos/generate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    experiment: Annotated[
        str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), Field(description="name or id")
    ]
    fps: float = Field(DEFAULT_FPS, ge=0.1, le=240, description="frames per second of the video")
    decimation_factor: int = Field(DEFAULT_DECIMATION, ge=1, le=100_000, description="keep one frame in this many")


@dataclass(frozen=True, slots=True)
class RequestedRender:
    """A reading of a question: what to render, and all that it says about the video."""

    name: NameReference
    options: RequestedOptions


def describe_validation_error(error: ValidationError) -> str:
    """The errors of the first 10 fields, without the input."""
    errors = error.errors(include_input=False, include_url=False)[:10]
    return "; ".join(f"{'/'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in errors)


async def prepare_first(session: QuerySession, readings: Sequence[RequestedRender]) -> TextAnswer:
    """Prepare the first of the readings whose name exists."""
    for render in readings[:-1]:
        answer = await prepare_render(session, render)
        if not answer.is_unknown_name:
            return answer
    return await prepare_render(session, readings[-1])


async def prepare_render(session: QuerySession, render: RequestedRender) -> TextAnswer:
    """Prepare a render of the newest ready dataset of that name, or explain why there is none."""
    name = render.name
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
    return await _suggest_render(session, ready[0], render.options, others=ready[1:])


def unknown_name_answer(name: NameReference) -> TextAnswer:
    """The answer if the caller can see nothing of that name."""
    text = f"There is no experiment or dataset named {name.candidates[-1]} that you may see."
    return TextAnswer(text, is_final=name.is_unambiguous, is_unknown_name=True)


async def _suggest_render(session: QuerySession, row: Row, options: RequestedOptions, others: list[Row]) -> TextAnswer:
    try:
        request = _build_request(row, options)
        accepted = await find_accepted(session.estimate_render, request)
    except ValidationError as error:
        return TextAnswer(f"That cannot be rendered: {describe_validation_error(error)}.")
    except (InvalidRequest, Conflict, NotFound) as refused:
        return TextAnswer(f"That cannot be rendered: {_describe_refusal(refused).rstrip('.')}.")
    suggestion = RenderSuggestion(accepted.request, accepted.estimate)
    parts = [
        f"Prepared, but not started: {_describe_dataset(row)} {_describe_pace(accepted.request)}",
        *(f'"{words}"' for words in options.words),
    ]
    text = f"{', '.join(parts)}. {_describe_result(row, suggestion)}"
    for member, reason in accepted.left_out.items():
        text += f" Left out: {member}, because {reason.rstrip('.')}."
    text += " suggested_render is the request that starts it."
    if others:
        text += f" This is the newest dataset; there are also {', '.join(str(other['name']) for other in others)}."
    return TextAnswer(text, suggestion=suggestion)


def _build_request(row: Row, options: RequestedOptions) -> dict[str, Any]:
    """Members of `POST /api/videos/generate`. Raises ValidationError for a rate that no video has."""
    ids = {"experiment_id": row["experiment_id"], "dataset_id": row["id"]}
    request = ids | {"decimation_factor": DEFAULT_DECIMATION} | options.fields
    if not {"duration_seconds", "timing"} & request.keys():
        request.setdefault("fps", DEFAULT_FPS)
    if options.last_frames is not None:
        request["frames"] = {"start": max(0, row["frame_count"] - options.last_frames)}
    rates = {name: request[name] for name in ("fps", "decimation_factor") if name in request}
    RenderIntent.model_validate(rates | {"experiment": row["name"]})
    return request


def with_intent(options: RequestedOptions, intent: RenderIntent) -> RequestedOptions:
    """What code has found, and for the rest what a model has read."""
    read: dict[str, Any] = {"decimation_factor": intent.decimation_factor}
    if not {"duration_seconds", "timing"} & options.fields.keys():
        read["fps"] = intent.fps
    return replace(options, fields=read | options.fields)


def _describe_refusal(refused: ReelmillError) -> str:
    reasons = (f"{(each.pointer or '').removeprefix('#/')}: {each.detail}" for each in refused.errors)
    return "; ".join(reasons) or refused.detail


def _describe_pace(request: dict[str, Any]) -> str:
    step = request["decimation_factor"]
    frames = "every frame" if step == 1 else f"one frame in {step:,}"
    if "duration_seconds" in request:
        return f"with {frames} in {request['duration_seconds']:g} s"
    if request.get("timing") == "captured":
        return f"with {frames} at {request['speed']:g} times the speed of its capture times"
    return f"with {frames} at {request['fps']:g} fps"


def _describe_result(row: Row, suggestion: RenderSuggestion) -> str:
    request, estimate = suggestion.request, suggestion.estimate
    if estimate is None and "frames" in request:
        return "Its frames are counted when it starts."
    frames = estimate.frames if estimate else math.ceil(row["frame_count"] / request["decimation_factor"])
    lasting = f" or {frames / request['fps']:,.1f} s of video" if "fps" in request else ""
    cost = f", made in about {estimate.seconds:,.1f} s, of {estimate.bytes / 1e6:,.1f} MB" if estimate else ""
    return f"That is about {frames:,} frames{lasting}{cost}."


def _describe_dataset(row: Row) -> str:
    of = f" of {row['experiment_name']} ({row['experiment_id']})" if row["experiment_name"] else ""
    return f"dataset {row['name']}{of}"

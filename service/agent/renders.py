"""Prepare a render request from what somebody wishes for. It is only told, never sent."""

import math
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.agent.desk import Desk, Suggestion, Told
from service.agent.lookup import Found, Named, Row, find

FPS, DECIMATION = 30.0, 1


class RenderWish(BaseModel):
    """What to render, and how fast; the bounds are those of `POST /api/videos/generate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    experiment: Annotated[
        str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), Field(description="name or id")
    ]
    fps: float = Field(FPS, ge=0.1, le=240, description="frames per second of the video")
    decimation_factor: int = Field(DECIMATION, ge=1, le=100_000, description="keep one frame in this many")


def faults(error: ValidationError) -> str:
    """What is wrong with each field, without what was sent."""
    found = error.errors(include_input=False, include_url=False)[:10]
    return "; ".join(f"{'/'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in found)


async def render(desk: Desk, name: Named, fields: dict[str, Any]) -> Told:
    """From words that were recognised."""
    try:
        wish = RenderWish.model_validate(fields | {"experiment": name.candidates[-1]})
    except ValidationError as error:
        return Told(f"That cannot be rendered: {faults(error)}.")
    return await prepared(desk, name, wish)


async def prepared(desk: Desk, name: Named, wish: RenderWish) -> Told:
    """The request for the newest ready dataset of that name."""
    found = await find(desk, name)
    if not found.datasets:
        return _nothing(found, name)
    if len({row["experiment_id"] for row in found.datasets}) > 1:
        several = "; ".join(_of(row) for row in found.datasets)
        return Told(f"Several experiments have something of that name, so say which one by its id: {several}.")
    ready = [row for row in found.datasets if row["state"] == "ready" and row["frame_count"]]
    if not ready:
        return Told(f"There is nothing to render yet: {'; '.join(_state(row) for row in found.datasets)}.")
    return _suggested(ready[0], wish, others=ready[1:])


def _nothing(found: Found, name: Named) -> Told:
    if found.experiments:
        return Told(f"The experiment {found.experiments[0]['name']} has no datasets, so there is nothing to render.")
    return unknown(name)


def unknown(name: Named) -> Told:
    """When nothing that the caller may see has that name."""
    return Told(f"There is no experiment or dataset named {name.candidates[-1]} that you may see.", settled=name.plain)


def _suggested(row: Row, wish: RenderWish, others: list[Row]) -> Told:
    frames = math.ceil(row["frame_count"] / wish.decimation_factor)
    kept = "every frame" if wish.decimation_factor == 1 else f"one frame in {wish.decimation_factor:,}"
    text = (
        f"Prepared, but not started: {_of(row)} with {kept} at {wish.fps:g} fps, about {frames:,} frames or"
        f" {frames / wish.fps:,.1f} s of video. Send suggested_render to POST /api/videos/generate to start it."
    )
    if others:
        text += f" This is the newest dataset; there are also {', '.join(str(other['name']) for other in others)}."
    ids = UUID(row["experiment_id"]), UUID(row["id"])
    return Told(text, suggestion=Suggestion(*ids, wish.decimation_factor, wish.fps))


def _of(row: Row) -> str:
    return f"dataset {row['name']} of experiment {row['experiment_name']} ({row['experiment_id']})"


def _state(row: Row) -> str:
    return f"dataset {row['name']} is {row['state']} and has {row['frame_count']:,} frames"

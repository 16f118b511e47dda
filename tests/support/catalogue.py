"""Rows for tests that need a catalogue without files."""

from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, Subject, new_uuid
from service.plan.planner import render_key, select
from service.plan.render_plan import RenderOptions
from service.plan.stages import stage_plan
from service.store import new_render
from service.store.new_render import NewRender
from service.store.tables import datasets, experiments, frames

OPTIONS = RenderOptions("h264", 70, Fraction(30), 64, 48)


async def add_dataset(connection: AsyncConnection, count: int, owner: str = "alice") -> dict[str, Any]:
    """An experiment of `owner` with one scanned dataset of `count` frames named f00000.jpg …"""
    experiment, dataset = new_uuid(), new_uuid()
    await connection.execute(insert(experiments).values(id=experiment, name=f"e-{experiment}", owner=owner))
    row = {
        "id": dataset,
        "experiment_id": experiment,
        "name": "frames",
        "kind": "frames",
        "bucket": "reelmill",
        "prefix": f"frames/{experiment}/{dataset}/",
        "state": "ready",
        "frame_count": count,
        "width": 64,
        "height": 48,
        "digest": str(dataset),
    }
    await connection.execute(insert(datasets).values(**row))
    if count:
        await connection.execute(insert(frames), [_frame(dataset, row["prefix"], index) for index in range(count)])
    return row | {"gap_frames": 0, "number_stride": 1, "number_first": 0, "gaps": [], "error": None}


def _frame(dataset: UUID, prefix: Any, index: int) -> dict[str, Any]:
    key = f"{prefix}f{index:05d}.jpg"
    return {"dataset_id": dataset, "index": index, "number": index, "key": key, "size": 100, "etag": f"e{index}"}


async def add_render(
    connection: AsyncConnection, dataset: dict[str, Any], step: int = 1, options: RenderOptions = OPTIONS
) -> RenderId:
    """A queued render of every `step`-th frame, with its segments and tasks."""
    chosen = select(dataset["frame_count"], step, None, None, whole=options.bins is not None)
    new = NewRender(
        dataset, options, chosen, render_key(dataset, chosen, options), {"priority": 0}, stage_plan(options)
    )
    return await new_render.write(connection, Subject("alice"), new)

"""Rows for tests that need a catalogue without files."""

from dataclasses import replace
from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, Subject, new_uuid
from service.plan.placement import describe_stages
from service.plan.render_plan import RenderOptions
from service.plan.requests.planning import RenderPlan
from service.plan.segments import render_key, select_frames
from service.store.catalog.datasets import DatasetRow, to_dataset_row
from service.store.renders.submission import write_render
from service.store.tables import datasets, experiments, frames

OPTIONS = RenderOptions("h264", 70, Fraction(30), 64, 48)


async def add_dataset(connection: AsyncConnection, count: int, owner: str = "alice") -> DatasetRow:
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
    inserted = await connection.execute(insert(datasets).values(**row).returning(datasets))
    if count:
        await connection.execute(insert(frames), [_frame(dataset, row["prefix"], index) for index in range(count)])
    return to_dataset_row(inserted.mappings().one())


def _frame(dataset: UUID, prefix: Any, index: int) -> dict[str, Any]:
    key = f"{prefix}f{index:05d}.jpg"
    return {"dataset_id": dataset, "index": index, "number": index, "key": key, "size": 100, "etag": f"e{index}"}


async def add_render(
    connection: AsyncConnection,
    dataset: DatasetRow,
    step: int = 1,
    options: RenderOptions = OPTIONS,
    owner: str = "alice",
    priority: int = 0,
) -> RenderId:
    """A queued render of every `step`-th frame, with its segments and tasks."""
    plan = replace(render_plan(dataset, step, options), priority=priority)
    return await write_render(connection, Subject(owner), plan, {"priority": priority})


def render_plan(dataset: DatasetRow, step: int, options: RenderOptions) -> RenderPlan:
    """The plan of every `step`-th frame, without checks of the options."""
    selection = select_frames(dataset.frame_count, step, None, None, binned=options.bins is not None)
    return RenderPlan(dataset, options, selection, render_key(dataset, selection, options), describe_stages(options))


def device_row(name: str, age: float = 0.0, **more: Any) -> dict[str, Any]:
    told = {"device": name, "kind": "cpu" if name == "cpu" else "gpu", "model": f"model of {name}", "absent": None}
    return (
        told
        | {"warning": None, "figures": {"cores": 2, "energy_joules": None}, "age": age}
        | {
            "unknown": {"energy_joules": "not told"},
            **more,
        }
    )


def capability_row(device: str, **more: Any) -> dict[str, Any]:
    told = {"device": device, "stage": "decode", "what": "jpeg", "state": "ok", "reason": "", "rate": None}
    return told | {"age": 1.0, "faults": 0, "next": 10.0} | more

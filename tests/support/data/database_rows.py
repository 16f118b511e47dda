"""Rows for tests that need a catalogue without files."""

from fractions import Fraction
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, Subject, new_uuid
from service.plan.placement import describe_stages
from service.plan.render_plan import RenderOptions
from service.plan.request import RenderPlan
from service.plan.segments import render_key, select_frames
from service.store.renders.facts import dataset_facts
from service.store.renders.submission import write_render
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
    unset = {"captured_from": None, "captured_to": None, "levels": None, "forms": {}, "formats": []}
    return row | unset | {"gap_frames": 0, "number_stride": 1, "number_first": 0, "gaps": [], "error": None}


def _frame(dataset: UUID, prefix: Any, index: int) -> dict[str, Any]:
    key = f"{prefix}f{index:05d}.jpg"
    return {"dataset_id": dataset, "index": index, "number": index, "key": key, "size": 100, "etag": f"e{index}"}


async def add_render(
    connection: AsyncConnection, dataset: dict[str, Any], step: int = 1, options: RenderOptions = OPTIONS
) -> RenderId:
    """A queued render of every `step`-th frame, with its segments and tasks."""
    return await write_render(connection, Subject("alice"), render_plan(dataset, step, options), {"priority": 0})


def render_plan(dataset: dict[str, Any], step: int, options: RenderOptions) -> RenderPlan:
    """The plan of every `step`-th frame, without checks of the options."""
    facts = dataset_facts(dataset)
    selection = select_frames(facts.frame_count, step, None, None, binned=options.bins is not None)
    return RenderPlan(facts, options, selection, render_key(facts, selection, options), describe_stages(options))


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

"""`reelmill render`: submit a render, show its progress, download the video and its receipt, print a summary."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import typer
from rich.console import Console

from service.client.datasets import AsyncDataset, with_defaults
from service.client.errors import RenderFailed
from service.client.experiments import is_id
from service.client.mill import AsyncReelmill
from service.client.renders import AsyncRender
from service.commands.remote.connection import find_dataset, find_in_catalogue, open_mill
from service.commands.remote.output import print_json
from service.commands.remote.progress import follow_render
from service.commands.remote.values import NOT_FINITE, parse_value
from service.config import Settings
from service.plan.formats import Container

PIPE = Path("-")


class OutputUnwritable(Exception):
    """The file for the video cannot be written; the text says why."""


async def render_to_file(
    settings: Settings, what: str, fields: dict[str, Any], output: Path | None, beside: Sequence[str] = ()
) -> None:
    """Render, and download the video and its receipt to `output` (default: out.mp4, or out.<container>).

    `what` is an experiment or EXPERIMENT/DATASET, by name, id or address; `beside` are datasets of the same experiment
    that a grid shows beside that one. `-` writes the video to stdout, and no receipt. Raises ReelmillError,
    OutputUnwritable.
    """
    if output != PIPE and (output is not None or not fields.get("dry_run")):
        _require_file_name(output or _default_output(fields.get("container")))
    grid = _grid(fields.get("grid")) if beside else {}
    async with open_mill(settings) as mill:
        body = await _place(mill, what) | fields
        if beside:
            body["grid"] = grid | {"dataset_ids": await _panels(mill, what, beside)}
        if body.get("dry_run"):
            print_json(await mill.call("generate", body=body))
            return
        render = await mill.renders.submit(**body)
        print(f"render {render.id}", file=sys.stderr, flush=True)
        if output is None:  # the container may be that of a preset
            _require_file_name(_default_output(render.options["container"]))
        status = await follow_render(render)
        if status["status"] != "succeeded":
            raise RenderFailed(status)
        await _download(render, output)


def _grid(given: Any) -> dict[str, Any]:
    """What is given of a grid. Raises typer.BadParameter."""
    if given is None or isinstance(given, dict):
        return given or {}
    raise typer.BadParameter('grid: write an object, as in grid={"labels": true}', param_hint="--option")


async def _place(mill: AsyncReelmill, what: str) -> dict[str, str]:
    found = await find_in_catalogue(mill, what)
    if isinstance(found, AsyncDataset):
        return {"experiment_id": found.experiment_id, "dataset_id": found.id}
    return {"experiment_id": found.id}


async def _panels(mill: AsyncReelmill, what: str, beside: Sequence[str]) -> list[str]:
    """The ids of this dataset and of those beside it: names in the same experiment, or EXPERIMENT/DATASET or ids."""
    first = await find_dataset(mill, what)
    experiment = await mill.experiments.get(first.experiment_id)
    others = [
        await (find_dataset(mill, name) if "/" in name or is_id(name) else experiment.datasets.get(name))
        for name in beside
    ]
    return [first.id, *(other.id for other in others)]


async def _download(render: AsyncRender, output: Path | None) -> None:
    if output == PIPE:
        async for chunk in render.video():
            sys.stdout.buffer.write(chunk)
        return
    video = output or _default_output(render.options["container"])
    await render.save(video)
    receipt = video.with_suffix(".receipt.ndjson")
    receipt.write_bytes(await render.receipt_bytes())
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"video   {video.resolve()}", markup=False)
    console.print(f"receipt {receipt.resolve()}", markup=False)
    for line in summary_lines(render.fields):
        console.print(line, markup=False)


def _default_output(container: Any) -> Path:
    """In this folder. A container that there is not is refused by the service."""
    return Path(f"out.{container if container in get_args(Container) else 'mp4'}")


def _require_file_name(output: Path) -> None:
    """Find out before the render whether its file can be written. Raises OutputUnwritable, OSError."""
    if output.is_dir():
        raise OutputUnwritable(f"{output} is a folder: name a file")
    output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(output.parent, os.W_OK):
        raise OutputUnwritable(f"{output.parent} cannot be written")


def summary_lines(status: Mapping[str, Any]) -> list[str]:
    """The receipt's summary, as lines of text."""
    summary = status["summary"]
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(summary.get("outcomes", {}).items()))
    lines = [
        f"        {summary['frames']} frames at {summary['fps']} fps: {outcomes}",
        f"        {summary['encoder']}, {summary['width']}x{summary['height']}, {status['video_bytes']} bytes",
    ]
    tone = status.get("options", {}).get("tone")
    if tone and tone.get("note"):
        lines.append(f"        tone {tone['low']:g} to {tone['high']:g}: {tone['note']}")
    lines += [
        f"        frame {note['index']}: {note['outcome']}, {note['reason']}" for note in summary.get("notes", [])
    ]
    return lines


def request_fields(named: Mapping[str, Any], options: list[str]) -> dict[str, Any]:
    """The fields of a render request. `named` are those that have an option of their own, None if it was not given;
    `options` are `name=value`: a value that parses as JSON is taken as JSON.

    What is not given is left to the preset; without one, it is every frame at 30 frames a second. Raises
    typer.BadParameter for numbers that JSON does not have.
    """
    given = {name: value for name, value in named.items() if value is not None}
    if not math.isfinite(given.get("fps", 1)):
        raise typer.BadParameter(NOT_FINITE, param_hint="--fps")
    for option in options:
        option.encode()  # raises UnicodeEncodeError
        name, equals, value = option.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{option}: write name=value, as in width=1280", param_hint="--option")
        if named.get(name) is not None:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--option")
        given[name] = parse_value(name, value, "--option")
    return with_defaults(given)

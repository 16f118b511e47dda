"""`reelmill render`: submit a render, show its progress, download the video and its receipt, print a summary."""

import asyncio
import hashlib
import json
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.commands.api_client import Answer, ApiError, json_or_raise, open_client
from service.config import Settings

console = Console(soft_wrap=True, highlight=False)
MAX_RECONNECTS = 30
DEFAULT_FPS = 30
NOT_FINITE = "a finite number of ordinary length is needed"


class RenderError(Exception):
    """The render did not succeed."""


async def render_to_file(settings: Settings, experiment: str, fields: dict[str, Any], output: Path | None) -> None:
    """Render, and download the video and its receipt to `output` (default: out.mp4, or out.<container>).

    Raises ApiError, RenderError, httpx.TransportError.
    """
    async with open_client(settings) as client:
        if output is not None:
            _require_file_name(output)
        body = {"experiment_id": await find_experiment_id(client, experiment)} | fields
        job = json_or_raise(await client.post("/api/videos/generate", json=body))
        if "job_id" not in job:
            console.print_json(json.dumps(job))
            return
        status = await follow_render(client, job["job_id"])
        if status["status"] != "succeeded":
            reason = (status.get("error") or {}).get("reason", "no reason was given")
            raise RenderError(f"the render {status['status']}: {reason}")
        video = output or Path(f"out.{status['options']['container']}")
        receipt = video.with_suffix(".receipt.ndjson")
        await download_video(client, status, video)
        answer = await client.get(status["receipt_url"])
        if not answer.is_success:
            json_or_raise(answer)
        receipt.write_bytes(answer.content)
    console.print(f"video   {video.resolve()}", markup=False)
    console.print(f"receipt {receipt.resolve()}", markup=False)
    for line in summary_lines(status):
        console.print(line, markup=False)


def _require_file_name(output: Path) -> None:
    """Find out before the render whether its file can be written. Raises RenderError, OSError."""
    if output.is_dir():
        raise RenderError(f"{output} is a folder: name a file")
    output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(output.parent, os.W_OK):
        raise RenderError(f"{output.parent} cannot be written")


async def find_experiment_id(client: httpx.AsyncClient, name: str) -> str:
    """The id of an experiment given by name or id. Raises ApiError."""
    try:
        return str(UUID(name))
    except ValueError:
        pass
    found = json_or_raise(await client.get("/api/experiments", params={"q": name, "limit": 500}), list)
    ids = [row["id"] for row in found if row["name"] == name]
    if not ids:
        raise ApiError(404, f"there is no experiment named {name}")
    return str(ids[0])


async def follow_render(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    """Show a progress bar until the render ends; returns its last status."""
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    last: dict[str, Any] = {}
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        line = bar.add_task("queued", total=None, rate="")
        async for last in stream_statuses(client, job_id):
            rate = f"{last['fps']:.1f} frames/s" if last["fps"] else ""
            bar.update(
                line, description=last["phase"], total=last["frames_total"], completed=last["frames_done"], rate=rate
            )
    return last


async def stream_statuses(client: httpx.AsyncClient, job_id: str) -> AsyncIterator[dict[str, Any]]:
    """Yield statuses from the event stream until the render ends. Reconnects where a broken stream stopped."""
    known: dict[str, str] = {}
    event = ""
    for _ in range(MAX_RECONNECTS):
        try:
            async with client.stream("GET", f"/api/videos/{job_id}/events", headers=known) as stream:
                if not stream.is_success:
                    await stream.aread()
                    json_or_raise(stream)
                async for line in stream.aiter_lines():
                    if line.startswith("id:"):
                        known = {"Last-Event-ID": line[3:].strip()}
                    if line.startswith("event:"):
                        event = line[6:].strip()
                    if line.startswith("data:") and event == "status":
                        status = json.loads(line[5:], object_hook=Answer)
                        yield status
                        if status["status"] in ("succeeded", "failed", "cancelled"):
                            return
        except (httpx.TransportError, ValueError):  # ValueError: a line that is not JSON
            await asyncio.sleep(1)
    raise RenderError("the event stream failed too often; the render continues: check its status")


async def download_video(client: httpx.AsyncClient, status: dict[str, Any], output: Path) -> None:
    """Download to a temporary file, check its sha256, then move it to `output`. Raises RenderError."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.part")
    digest = hashlib.sha256()
    async with client.stream("GET", status["video_url"]) as stream:
        if not stream.is_success:
            await stream.aread()
            json_or_raise(stream)
        with partial.open("wb") as file:
            async for chunk in stream.aiter_bytes():
                digest.update(chunk)
                file.write(chunk)
    if digest.hexdigest() != status["video_sha256"]:
        partial.unlink()
        raise RenderError("the downloaded file differs from the one in the receipt: try again")
    partial.replace(output)


def summary_lines(status: dict[str, Any]) -> list[str]:
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


def request_fields(decimation: int, fps: float | None, options: list[str]) -> dict[str, Any]:
    """The fields of a render request. `options` are `name=value`; a value that parses as JSON is taken as JSON.

    `fps` is 30 if neither it nor the options set the frame rate or the duration. Raises typer.BadParameter for numbers
    that JSON does not have.
    """
    if fps is not None and not math.isfinite(fps):
        raise typer.BadParameter(NOT_FINITE, param_hint="--fps")
    fields: dict[str, Any] = {"decimation_factor": decimation}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{option}: write name=value, as in width=1280", param_hint="--option")
        fields[name] = _option_value(name, value)
    if fps is not None and "fps" in fields:
        raise typer.BadParameter("fps is given twice", param_hint="--option")
    if fps is not None:
        fields["fps"] = fps
    elif not fields.keys() & {"fps", "duration_seconds"}:
        fields["fps"] = DEFAULT_FPS
    return fields


def _option_value(name: str, text: str) -> Any:
    """The JSON value, or the text if it is none. Raises typer.BadParameter."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError) as error:  # NaN, Infinity, 1e999, thousands of digits or of brackets
        raise typer.BadParameter(f"{name}: {NOT_FINITE}", param_hint="--option") from error
    return value

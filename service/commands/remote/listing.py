"""`reelmill ls`, `frames`, `renders` and `show`: what there is."""

import shlex
import sys
from collections.abc import Mapping
from typing import Any

from service.client.datasets import AsyncDataset
from service.client.mill import AsyncReelmill
from service.commands.remote.connection import find_dataset, find_entity, find_in_catalogue, open_mill
from service.commands.remote.output import print_fields, print_rows
from service.config import Settings

EXPERIMENT_COLUMNS = ("name", "owner", "visibility", "created_at", "id")
DATASET_COLUMNS = ("name", "kind", "state", "frame_count", "width", "height", "bytes", "unreadable_frames", "id")
FRAME_COLUMNS = ("index", "key", "width", "height", "bits", "format", "captured_at", "size", "problem")
RENDER_COLUMNS = ("job_id", "status", "phase", "frames_done", "frames_total", "created_at", "owner", "reason")
# Of the API at most; and how many frames `ls` shows of a dataset.
FRAMES_PAGE, FRAMES_SHOWN = 1000, 100


async def list_catalogue(settings: Settings, path: str | None, limit: int | None, *, as_json: bool) -> None:
    """Experiments; of an experiment its datasets; of a dataset its frames, or the first `limit`."""
    async with open_mill(settings) as mill:
        if path is None:
            rows = [each.fields async for each in mill.experiments.list()]
            print_rows(rows, EXPERIMENT_COLUMNS, as_json=as_json, none="there are no experiments")
            return
        found = await find_in_catalogue(mill, path.rstrip("/"))
        if isinstance(found, AsyncDataset):
            rows = await _frames(mill, found, {}, limit or (None if as_json else FRAMES_SHOWN))
            print_rows(rows, FRAME_COLUMNS, as_json=as_json, none="the dataset has no frames")
            if (more := found.frame_count - len(rows)) > 0:
                print(f"… and {more:,} more: reelmill frames {shlex.quote(path)}", file=sys.stderr)
            return
        rows = [each.fields async for each in found.datasets.list()]
        print_rows(rows, DATASET_COLUMNS, as_json=as_json, none="the experiment has no datasets")


async def list_frames(
    settings: Settings, dataset: str, filters: Mapping[str, Any], limit: int | None, *, as_json: bool
) -> None:
    """`filters` are those of the API: `start`, `unreadable`, `odd_size`."""
    async with open_mill(settings) as mill:
        rows = await _frames(mill, await find_dataset(mill, dataset), filters, limit)
    print_rows(rows, FRAME_COLUMNS, as_json=as_json, none="there are no such frames")


async def _frames(
    mill: AsyncReelmill, dataset: AsyncDataset, filters: Mapping[str, Any], limit: int | None
) -> list[dict[str, Any]]:
    page = min(limit or FRAMES_PAGE, FRAMES_PAGE)
    found = list[dict[str, Any]]()
    async for row in mill.rows(f"/api/datasets/{dataset.id}/frames", limit=page, **filters):
        found.append(row)
        if len(found) == limit:
            break
    return found


async def list_renders(settings: Settings, filters: Mapping[str, Any], limit: int, *, as_json: bool) -> None:
    """Newest first. `filters` are those of the API; `experiment` may be a name."""
    async with open_mill(settings) as mill:
        query = {name: value for name, value in filters.items() if name != "experiment"}
        if wanted := filters.get("experiment"):
            found = await find_in_catalogue(mill, wanted)
            query["dataset_id" if isinstance(found, AsyncDataset) else "experiment_id"] = found.id
        renders = [render.fields async for render in _first(mill, query, limit)]
    rows = renders if as_json else [row | {"reason": (row["error"] or {}).get("reason")} for row in renders]
    print_rows(rows, RENDER_COLUMNS, as_json=as_json, none="there are no such renders")


async def _first(mill: AsyncReelmill, query: Mapping[str, Any], limit: int) -> Any:
    count = 0
    async for render in mill.renders.list(**query):
        if count == limit:
            return
        count += 1
        yield render


async def show(settings: Settings, what: str, *, as_json: bool) -> None:
    """All that is known of an experiment, a dataset, a render, a preset or a schedule."""
    async with open_mill(settings) as mill:
        found = await find_entity(mill, what)
    print_fields(found.fields, as_json=as_json)

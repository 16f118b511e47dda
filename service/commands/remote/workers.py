"""`reelmill workers`: list the workers of the fleet, and cordon, uncordon or drain one."""

import json
import sys
from typing import Any, Literal

import httpx
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from service.commands.api_client import CHECK_URL, OK, ApiError, get_with_retries, json_or_raise, open_client
from service.config import Settings
from service.routers.ops.workers import Worker

Order = Literal["cordon", "uncordon", "drain"]
STATE_STYLES = {"active": "green", "cordoned": "yellow", "draining": "yellow", "lost": "red"}
NOT_FOUND = 404
console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)


async def show_workers(settings: Settings, *, as_json: bool) -> None:
    async with open_client(settings) as client:
        found = await _list_workers(client)
    if as_json:
        print(json.dumps([worker.model_dump(mode="json") for worker in found], indent=2))
        return
    if not found:
        console.print("no worker is alive")
        return
    console.print(_worker_table(found))


async def order_worker(settings: Settings, worker: str, order: Order) -> None:
    """`worker`: its id, the beginning of it, or its name. Raises ApiError."""
    async with open_client(settings) as client:
        chosen = _find_worker(await _list_workers(client), worker)
        answer = json_or_raise(await client.post(f"/api/workers/{chosen.id}/{order}"))
    console.print(f"{chosen.name} is {answer['state']}", markup=False)


async def _list_workers(client: httpx.AsyncClient) -> list[Worker]:
    rows: list[dict[str, Any]] = json_or_raise(await get_with_retries(client, "/api/workers"), list)
    try:
        return [Worker(**row) for row in rows]
    except ValidationError as error:
        raise ApiError(OK, f"the answer is not of the expected form: {CHECK_URL}") from error


def _find_worker(workers: list[Worker], wanted: str) -> Worker:
    found = [worker for worker in workers if worker.name == wanted or str(worker.id).startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} workers have an id or a name that begins so" if found else "there is no such worker"
    raise ApiError(NOT_FOUND, f"{problem}: `reelmill workers` lists them")


def _worker_table(workers: list[Worker]) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0))
    for title in ("id", "name", "zone", "version", "slots", "running", "state", "last seen", "capabilities"):
        grid.add_column(title, overflow="fold")
    for worker in workers:
        state = f"[{STATE_STYLES[worker.state]}]{worker.state}[/]"
        grid.add_row(
            str(worker.id),
            escape(worker.name),
            escape(worker.zone),
            f"{worker.version} ({worker.pipeline})",
            str(worker.slots),
            str(worker.running),
            f"{state}: {escape(worker.trouble)}" if worker.trouble else state,
            f"{worker.seen_seconds_ago:.0f} s ago",
            escape(", ".join(worker.capabilities)) if worker.capabilities is not None else "not told",
        )
    return grid

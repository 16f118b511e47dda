"""`reelmill workers`: list the workers of the fleet, and cordon, uncordon or drain one."""

from typing import Any, Literal

from service.client.errors import NotFound
from service.client.mill import AsyncReelmill
from service.commands.remote.connection import open_mill
from service.commands.remote.output import print_json, print_rows
from service.config import Settings

Order = Literal["cordon", "uncordon", "drain"]
COLUMNS = ("id", "name", "zone", "version", "pipeline", "slots", "running", "state", "trouble", "seen", "capabilities")


async def show_workers(settings: Settings, *, as_json: bool) -> None:
    async with open_mill(settings) as mill:
        found = await mill.workers()
    rows = found if as_json else [worker | _in_words(worker) for worker in found]
    print_rows(rows, COLUMNS, as_json=as_json, none="no worker is alive")


async def order_worker(settings: Settings, worker: str, order: Order, *, as_json: bool) -> None:
    """`worker`: its id, the beginning of it, or its name. Raises NotFound, Refused."""
    async with open_mill(settings) as mill:
        chosen = await _find_worker(mill, worker)
        answer = await mill.call(f"{order}_worker", worker_id=chosen["id"])
    if as_json:
        print_json(answer)
    else:
        print(f"{chosen['name']} is {answer['state']}")


async def _find_worker(mill: AsyncReelmill, wanted: str) -> dict[str, Any]:
    found = [each for each in await mill.workers() if each["name"] == wanted or each["id"].startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} workers have an id or a name that begins so" if found else "there is no such worker"
    raise NotFound(404, {"detail": f"{problem}: `reelmill workers` lists them"})


def _in_words(worker: dict[str, Any]) -> dict[str, Any]:
    capabilities = worker["capabilities"]
    return {
        "seen": f"{worker['seen_seconds_ago']:.0f} s ago",
        "capabilities": "not told" if capabilities is None else ", ".join(capabilities),
    }

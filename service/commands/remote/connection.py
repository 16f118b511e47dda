"""The service that the commands ask, and what people call the things in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from service.client.datasets import AsyncDataset
from service.client.errors import Misconfigured, NotFound
from service.client.experiments import AsyncExperiment, is_id
from service.client.mill import AsyncReelmill
from service.client.renders import AsyncRender
from service.commands.tokens import LOCAL_SCOPES, mint_local_token
from service.config import Settings
from service.errors import StartupError

# Whoever types a command wants to know soon; what runs for long outlasts a restart of the service.
PATIENCE_S, LONG_PATIENCE_S = 2.0, 60.0
LEAST_ID_PART = 4
FOUND_MANY = "has several things whose id begins so: write more of it"


@asynccontextmanager
async def open_mill(settings: Settings, patience_s: float = PATIENCE_S) -> AsyncIterator[AsyncReelmill]:
    """REELMILL_URL with REELMILL_TOKEN; unset, the service of this machine with a token that is signed here. A service
    that cannot be reached is waited for, `patience_s` seconds.

    Raises StartupError, naming the variable that is wrong.
    """
    url = settings.client.url or f"http://127.0.0.1:{settings.process.port}"
    token = settings.client.token or mint_local_token(settings, "local-user", LOCAL_SCOPES, timedelta(hours=12))
    try:
        mill = AsyncReelmill(url, token=token, patience_s=patience_s)
    except Misconfigured as error:
        raise StartupError(str(error)) from error
    async with mill:
        yield mill


async def find_dataset(mill: AsyncReelmill, path: str) -> AsyncDataset:
    """By id, address, or as EXPERIMENT/DATASET; of an experiment with one dataset its name is enough.

    Raises NotFound.
    """
    found = await find_in_catalogue(mill, path)
    if isinstance(found, AsyncDataset):
        return found
    datasets = [each async for each in found.datasets.list()]
    if len(datasets) == 1:
        return datasets[0]
    names = ", ".join(f"{found.name}/{each.name}" for each in datasets[:5]) or "it has none"
    raise NotFound(404, {"detail": f"the experiment {found.name} has {len(datasets)} datasets: name one ({names})"})


async def find_in_catalogue(mill: AsyncReelmill, path: str) -> AsyncExperiment | AsyncDataset:
    """EXPERIMENT, EXPERIMENT/DATASET, an id, or an address of the page or the API. Raises NotFound."""
    name = _last_id(path) or path
    if is_id(name):
        try:
            return await mill.dataset(name)
        except NotFound:
            return await mill.experiments.get(name)
    try:
        return await mill.experiments.get(name)
    except NotFound:
        experiment, slash, dataset = name.rpartition("/")
        if not slash:
            raise
    return await (await mill.experiments.get(experiment)).datasets.get(dataset)


async def find_render(mill: AsyncReelmill, name: str) -> AsyncRender:
    """By id, the beginning of one, or address. Raises NotFound."""
    name = _last_id(name) or name
    if is_id(name):
        return await mill.renders.get(name)
    if len(name) < LEAST_ID_PART or not set(name.lower()) <= set("0123456789abcdef-"):
        raise NotFound(404, {"detail": f"{name} is no id of a render: `reelmill renders` lists them"})
    found = [each async for each in mill.renders.list() if each.id.startswith(name.lower())]
    if len(found) != 1:
        reason = f"{name} {FOUND_MANY}" if found else f"there is no render whose id begins with {name}"
        raise NotFound(404, {"detail": reason})
    return found[0]


def _last_id(address: str) -> str | None:
    """The last id in an address; None if it is none."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return None
    words = f"{parts.path}/{parts.fragment}".replace("?", "/").split("/")
    return next((word for word in reversed(words) if is_id(word)), None)

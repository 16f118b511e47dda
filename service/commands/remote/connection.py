"""The service that the commands ask, and what people call the things in it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from urllib.parse import parse_qs, urlsplit

from service.client.addresses import NOT_HERE, checked_address, is_here
from service.client.automation.presets import AsyncPreset
from service.client.automation.schedules import AsyncSchedule
from service.client.datasets import AsyncDataset
from service.client.entity import find_named
from service.client.errors import Conflict, Misconfigured, NotFound, NotPermitted, Refused
from service.client.experiments import AsyncExperiment, is_id
from service.client.mill import AsyncReelmill
from service.client.renders import AsyncRender
from service.commands.tokens import LOCAL_SCOPES, mint_local_token
from service.config import Settings
from service.errors import StartupError

# Whoever types a command wants to know soon; what runs for long outlasts a restart of the service.
PATIENCE_S, LONG_PATIENCE_S = 2.0, 60.0
LEAST_ID_PART = 4
KINDS = "experiment, dataset, render, preset or schedule"
Entity = AsyncExperiment | AsyncDataset | AsyncRender | AsyncPreset | AsyncSchedule
# What lists in the page are of, in the order in which one says most.
QUERY_IDS = ("runs", "dataset_id", "experiment_id")


@asynccontextmanager
async def open_mill(settings: Settings, patience_s: float = PATIENCE_S) -> AsyncIterator[AsyncReelmill]:
    """REELMILL_URL with REELMILL_TOKEN; unset, the service of this machine with a token that is signed here, which no
    other machine gets. A service that cannot be reached is waited for, `patience_s` seconds.

    Raises StartupError, naming the variable that is wrong.
    """
    url = service_url(settings)
    try:
        mill = AsyncReelmill(url, token=_token(settings, url), patience_s=patience_s)
    except Misconfigured as error:
        raise StartupError(str(error)) from error
    async with mill:
        yield mill


def service_url(settings: Settings) -> str:
    """REELMILL_URL, or the address of the service of this machine. Raises StartupError."""
    try:
        return checked_address(settings.client.url or f"http://127.0.0.1:{settings.process.port}", "").url
    except Misconfigured as error:
        raise StartupError(str(error)) from error


def _token(settings: Settings, url: str) -> str:
    """Raises StartupError."""
    if settings.client.token:
        return settings.client.token
    if not is_here(url):
        raise StartupError(NOT_HERE)
    return mint_local_token(settings, "local-user", LOCAL_SCOPES, timedelta(hours=12))


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
    name = address_id(path) or path
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
    """By id, the beginning of one, or address. Raises NotFound, and Conflict if several ids begin so."""
    name = address_id(name) or name
    if is_id(name):
        return await mill.renders.get(name)
    if len(name) < LEAST_ID_PART or not set(name.lower()) <= set("0123456789abcdef-"):
        raise NotFound(404, {"detail": f"{name} is no id of a render: `reelmill renders` lists them"})
    found = [each async for each in mill.renders.list() if each.id.startswith(name.lower())]
    if not found:
        raise NotFound(404, {"detail": f"there is no render whose id begins with {name}"})
    if len(found) > 1:
        raise Conflict(409, {"detail": f"the ids of {len(found)} renders begin with {name}: write more of it"})
    return found[0]


async def find_entity(mill: AsyncReelmill, what: str) -> Entity:
    """An experiment, a dataset, a preset or a schedule by name, id or address; a render by id, the beginning of one, or
    address. The caller's own presets come before those of others.

    Raises NotFound, NotPermitted, and Conflict if the name is that of several things.
    """
    name = address_id(what) or what
    found = [] if is_id(name) else await _find_named(mill, name)
    if len(found) > 1:
        several = ", ".join(f"the {kind_of(each)} {each.id}" for each in found)
        raise Conflict(409, {"detail": f"several things are named {what}: write the id ({several})"})
    return found[0] if found else await _find_first(mill, name)


async def _find_named(mill: AsyncReelmill, name: str) -> list[Entity]:
    """Of the catalogue, and of the caller's own presets and schedules: those of this name."""
    searches: tuple[Callable[[], Awaitable[Entity | None]], ...] = (
        lambda: find_in_catalogue(mill, name),
        lambda: find_named(name, mill.presets.list(name, mine=True)),
        lambda: find_named(name, mill.schedules.list(mine=True)),
    )
    found = list[Entity | None]()
    for search in searches:
        with suppress(NotFound, NotPermitted):
            found.append(await search())
    return [each for each in found if each is not None]


async def _find_first(mill: AsyncReelmill, name: str) -> Entity:
    """What the first kind of thing has under this name or id. Raises NotFound, NotPermitted."""
    searches: tuple[Callable[[str], Awaitable[Entity]], ...] = (
        partial(find_in_catalogue, mill),
        partial(find_render, mill),
        mill.presets.get,
        mill.schedules.get,
    )
    refusal: Refused = NotFound(404, {"detail": f"there is no {KINDS} named {name}"})
    for search in searches:
        try:
            return await search(name)
        except NotPermitted as error:
            refusal = error
        except NotFound:
            continue
    raise refusal


def kind_of(entity: Entity) -> str:
    """Its kind in a word, such as `preset`."""
    return type(entity).__name__.removeprefix("Async").lower()


def address_id(address: str) -> str | None:
    """The last id in an address of the page or the API, or else that in its query, such as `#/schedules?runs=ID`; None
    if it has none."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return None
    place, _, fragment_query = parts.fragment.partition("?")
    query = parse_qs(f"{parts.query}&{fragment_query}")
    words = [word for name in QUERY_IDS for word in query.get(name, ())]
    words = [*reversed(f"{parts.path}/{place}".split("/")), *words]
    return next((word for word in words if is_id(word)), None)

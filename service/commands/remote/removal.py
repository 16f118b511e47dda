"""`reelmill rm`: what is deleted, what goes with it, and its deletion."""

from service.client.automation.presets import AsyncPreset
from service.client.automation.schedules import AsyncSchedule
from service.client.datasets import AsyncDataset
from service.client.experiments import AsyncExperiment
from service.client.renders import AsyncRender
from service.commands.remote.connection import Entity, find_entity, kind_of, open_mill
from service.commands.remote.output import print_fields
from service.config import Settings


async def describe(settings: Settings, what: str, *, frames: bool) -> tuple[str, str]:
    """The id of what is meant, and a question that says what would be deleted. Raises Refused."""
    async with open_mill(settings) as mill:
        found = await find_entity(mill, what)
        return str(found.id), f"delete {_name(found)}{await _what_goes_with(found, frames=frames)}?"


def _name(found: Entity) -> str:
    name = found.id if isinstance(found, AsyncRender) else f"{found.name} ({found.id})"
    owner = found.fields.get("owner")
    return f"the {kind_of(found)} {name}{f' of {owner}' if owner else ''}"


async def _what_goes_with(found: Entity, *, frames: bool) -> str:
    files = " and the uploaded files" if frames else ""
    match found:
        case AsyncExperiment():
            count = len([each async for each in found.datasets.list()])
            return f" with {count} {'dataset' if count == 1 else 'datasets'}, all renders of them{files}"
        case AsyncDataset():
            return f" with its {found.frame_count:,} frames, all renders of it{files}"
        case AsyncRender():
            return " with its video and receipt"
        case _:
            return ""


async def remove(settings: Settings, what: str, *, force: bool, frames: bool, as_json: bool) -> None:
    """Delete an experiment, a dataset, a render, a preset or a schedule, and print what was deleted."""
    async with open_mill(settings) as mill:
        match await find_entity(mill, what):
            case AsyncRender() as render:
                deleted = vars(await render.delete(force=force))
            case AsyncPreset() | AsyncSchedule() as named:
                await named.delete()
                deleted = {f"{kind_of(named)}s": 1}
            case found:
                deleted = vars(await found.delete(force=force, frames=frames))
    print_fields(deleted, as_json=as_json)

"""What people name for themselves: two may give the same name, and each means their own."""

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from service.client.entity import Entity
from service.client.errors import Conflict, NotFound

Named = TypeVar("Named", bound=Entity)
MOST_IDS = 5


async def find_named(name: str, entities: AsyncIterator[Named]) -> Named | None:
    """The first of this name."""
    async for each in entities:
        if each.name == name:
            return each
    return None


async def require_one_named(name: str, kind: str, entities: AsyncIterator[Named]) -> Named:
    """The only one of this name. Raises NotFound, and Conflict, which names their ids, if there are several."""
    found = [each async for each in entities if each.name == name]
    if not found:
        raise NotFound(404, {"detail": f"there is no {kind} named {name}"})
    if len(found) > 1:
        several = f"several people have {_article(kind)} {kind} named {name}"
        raise Conflict(409, {"detail": f"{several}: name its id ({_ids(found)})"})
    return found[0]


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"


def _ids(found: Sequence[Entity]) -> str:
    ids = ", ".join(f"{each.id} of {each.owner}" for each in found[:MOST_IDS])
    return ids if len(found) <= MOST_IDS else f"{ids}, …"

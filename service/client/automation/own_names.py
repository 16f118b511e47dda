"""What people name for themselves: two may give the same name, and each means their own."""

from collections.abc import AsyncIterator
from typing import TypeVar

from service.client.entity import Entity
from service.client.errors import Conflict, NotFound

Named = TypeVar("Named", bound=Entity)


async def find_named(name: str, entities: AsyncIterator[Named]) -> Named | None:
    """The first of this name."""
    async for each in entities:
        if each.name == name:
            return each
    return None


async def require_one_named(name: str, kind: str, entities: AsyncIterator[Named]) -> Named:
    """The only one of this name. Raises NotFound, and Conflict if there are several."""
    found = [each async for each in entities if each.name == name]
    if not found:
        raise NotFound(404, {"detail": f"there is no {kind} named {name}"})
    if len(found) > 1:
        raise Conflict(409, {"detail": f"several people have a {kind} named {name}: name its id"})
    return found[0]

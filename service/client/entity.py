"""What the objects of the client have in common, and whose is meant by a name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from service.client.errors import Conflict, NotFound, UnexpectedAnswer

if TYPE_CHECKING:
    from service.client.transport import Transport


class Entity:
    """Something that the service knows. What it said of it last is in `fields`; each field is an attribute, too."""

    # The field that names one in its text.
    _key = "id"

    def __init__(self, transport: Transport, fields: Mapping[str, Any]) -> None:
        self._transport, self.fields = transport, dict(fields)
        if self._key not in self.fields:
            raise UnexpectedAnswer(200, f"the answer has no {self._key}")

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.fields]

    def __repr__(self) -> str:
        return f"<{type(self).__name__.removeprefix('Async')} {self.fields.get('name', self.fields[self._key])}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Entity)
            and type(other) is type(self)
            and self.fields[self._key] == other.fields[self._key]
        )

    def __hash__(self) -> int:
        return hash(self.fields[self._key])


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


async def find_or_create(find: Callable[[], Awaitable[Named | None]], create: Callable[[], Awaitable[Named]]) -> Named:
    """What is there, or what is made. Raises what `create` does."""
    found = await find()
    if found is not None:
        return found
    try:
        return await create()
    except Conflict:  # an earlier answer was lost, or somebody else was faster
        found = await find()
        if found is None:
            raise
        return found


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiou" else "a"


def _ids(found: Sequence[Entity]) -> str:
    ids = ", ".join(f"{each.id} of {each.owner}" for each in found[:MOST_IDS])
    return ids if len(found) <= MOST_IDS else f"{ids}, …"

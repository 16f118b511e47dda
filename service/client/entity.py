"""What the objects of the client have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.client.errors import UnexpectedAnswer

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

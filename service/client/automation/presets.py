"""Presets: sets of options that renders name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Unpack
from uuid import UUID

from service.client.entity import Entity, find_named, find_or_create, require_one_named
from service.client.experiments import is_id
from service.client.fields import NewPreset, PresetChange, PresetFields
from service.client.requests import require_object

if TYPE_CHECKING:
    from service.client.transport import Transport

PAGE = 500


class AsyncPresets:
    """The presets that the caller may see."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, containing: str | None = None, *, mine: bool = False) -> AsyncIterator[AsyncPreset]:
        """Newest first; `containing` is a part of their names or descriptions."""
        query = {"q": containing, "mine": mine or None, "limit": PAGE}
        async for row in self._transport.rows("/api/presets", query):
            yield AsyncPreset(self._transport, row)

    async def get(self, name: UUID | str) -> AsyncPreset:
        """By id or name; the caller's own before those of others. Raises NotFound, and Conflict if several others
        share one of this name."""
        if is_id(name):
            row = await self._transport.call("get_preset", preset_id=name)
            return AsyncPreset(self._transport, require_object(row))
        own = await self._find_own(str(name))
        return own or await require_one_named(str(name), "preset", self.list(str(name)))

    async def create(self, name: str, **fields: Unpack[NewPreset]) -> AsyncPreset:
        """`options` are fields of `POST /api/videos/generate`. Raises Conflict, Invalid."""
        row = await self._transport.call("make_preset", body={"name": name} | fields)
        return AsyncPreset(self._transport, require_object(row))

    async def get_or_create(self, name: str, **fields: Unpack[NewPreset]) -> AsyncPreset:
        """The caller's own preset of this name: as it is, or made of `fields` if it is missing."""
        return await find_or_create(lambda: self._find_own(name), lambda: self.create(name, **fields))

    async def _find_own(self, name: str) -> AsyncPreset | None:
        return await find_named(name, self.list(name, mine=True))


class AsyncPreset(Entity, PresetFields):
    """Options that a render names as `preset`, by this one's name or id."""

    async def change(self, **fields: Unpack[PresetChange]) -> None:
        """Renders that were asked for before stay as they are; `options` are replaced as a whole."""
        self.fields = require_object(await self._transport.call("change_preset", preset_id=self.id, body=fields))

    async def delete(self) -> None:
        """Renders that were asked for with it stay."""
        await self._transport.call("delete_preset", preset_id=self.id)

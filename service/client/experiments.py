"""Experiments and their datasets in the catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from service.client.datasets import AsyncDataset
from service.client.entity import Entity, find_named, find_or_create, require_one_named
from service.client.errors import NotFound
from service.client.fields import DeletedFields, ExperimentFields
from service.client.requests import require_object

if TYPE_CHECKING:
    from service.client.transport import Transport

PAGE = 500
Kind = Literal["frames", "video"]


class AsyncExperiments:
    """The experiments that the caller may see."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(self, containing: str | None = None, *, mine: bool = False) -> AsyncIterator[AsyncExperiment]:
        """Newest first; `containing` is a part of their names."""
        query = {"q": containing, "mine": mine or None, "limit": PAGE}
        async for row in self._transport.rows("/api/experiments", query):
            yield AsyncExperiment(self._transport, row)

    async def get(self, name: UUID | str) -> AsyncExperiment:
        """By id or name; the caller's own before those of others. Raises NotFound, and Conflict, which names their ids,
        if several others have one of this name."""
        if is_id(name):
            with suppress(NotFound):  # a digest as a name looks like an id
                row = await self._transport.call("get_experiment", experiment_id=name)
                return AsyncExperiment(self._transport, require_object(row))
        own = await self.find_own(str(name))
        return own or await require_one_named(str(name), "experiment", self.list(str(name)))

    async def create(self, name: str, **fields: Any) -> AsyncExperiment:
        """`fields` are `description`, `metadata`, `visibility`, `shared_with`. Raises Conflict, Invalid."""
        row = await self._transport.call("make_experiment", body={"name": name} | fields)
        return AsyncExperiment(self._transport, require_object(row))

    async def get_or_create(self, name: str) -> AsyncExperiment:
        """The caller's own experiment of this name, made if it is missing."""
        return await find_or_create(lambda: self.find_own(name), lambda: self.create(name))

    async def find_own(self, name: str) -> AsyncExperiment | None:
        """The caller's own experiment of this name."""
        return await find_named(name, self.list(name, mine=True))


class AsyncExperiment(Entity, ExperimentFields):
    """An experiment; `datasets` are what it consists of."""

    @property
    def datasets(self) -> AsyncDatasets:
        return AsyncDatasets(self._transport, self.id)

    async def change(self, **fields: Any) -> None:
        """Change `name`, `description`, `metadata`, `visibility` or `shared_with`."""
        row = await self._transport.call("change_experiment", experiment_id=self.id, body=fields)
        self.fields = require_object(row)

    async def delete(self, *, force: bool = False, frames: bool = False) -> DeletedFields:
        """With its datasets and renders, running ones only with `force`; uploaded files only with `frames`."""
        answer = await self._transport.call(
            "delete_experiment", experiment_id=self.id, force=force or None, frames=frames or None
        )
        return DeletedFields.of(require_object(answer))


class AsyncDatasets:
    """The datasets of one experiment."""

    def __init__(self, transport: Transport, experiment: str) -> None:
        self._transport, self._experiment = transport, experiment

    async def list(self, containing: str | None = None) -> AsyncIterator[AsyncDataset]:
        query = {"q": containing, "limit": PAGE}
        async for row in self._transport.rows(f"/api/experiments/{self._experiment}/datasets", query):
            yield AsyncDataset(self._transport, row)

    async def get(self, name: UUID | str) -> AsyncDataset:
        """By id or name. Raises NotFound."""
        if is_id(name):
            with suppress(NotFound):
                row = await self._transport.call("get_dataset", dataset_id=name)
                return AsyncDataset(self._transport, require_object(row))
        found = await self._find(str(name))
        if found is None:
            raise NotFound(404, {"detail": f"there is no dataset named {name} in this experiment"})
        return found

    async def create(self, name: str, kind: Kind = "frames") -> AsyncDataset:
        """An empty one for uploads. Raises Conflict if there is one of this name."""
        return await self._make({"name": name, "kind": kind})

    async def register(
        self, name: str, prefix: str, *, bucket: str | None = None, kind: Kind = "frames"
    ) -> AsyncDataset:
        """One of the objects that are already in a bucket below `prefix`; it is scanned at once."""
        return await self._make({"name": name, "kind": kind, "prefix": prefix, "bucket": bucket})

    async def get_or_create(self, name: str, kind: Kind = "frames") -> AsyncDataset:
        """The dataset of this name, made if it is missing. Raises Conflict if it has another kind."""
        found = await find_or_create(lambda: self._find(name), lambda: self.create(name, kind))
        found.require_kind(kind)
        return found

    async def _make(self, body: dict[str, Any]) -> AsyncDataset:
        answer = await self._transport.call(
            "register_dataset",
            experiment_id=self._experiment,
            body={name: value for name, value in body.items() if value is not None},
        )
        return AsyncDataset(self._transport, require_object(require_object(answer).get("dataset")))

    async def _find(self, name: str) -> AsyncDataset | None:
        return await find_named(name, self.list(name))


def is_id(text: UUID | str) -> bool:
    try:
        UUID(str(text))
    except ValueError:
        return False
    return True

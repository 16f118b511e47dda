"""Load experiments and datasets as the caller may see them, and lock those that the caller owns."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from pydantic import AfterValidator, AwareDatetime, BeforeValidator
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Forbidden, NotFound
from service.guard.document import storable_text
from service.routers.http.dependencies import CatalogSettings, ResourcesDep
from service.store.catalog import datasets, experiments
from service.store.catalog.datasets import DatasetRow
from service.store.database import Caller


async def catalog_settings(resources: ResourcesDep) -> CatalogSettings:
    return resources.catalog


CatalogDep = Annotated[CatalogSettings, Depends(catalog_settings)]


async def get_visible_experiment(connection: AsyncConnection, experiment: UUID) -> RowMapping:
    """The experiment as the connection's caller sees it. Raises NotFound."""
    row = await experiments.get(connection, experiment)
    if row is None:
        raise NotFound("there is no such experiment")
    return row


async def get_visible_dataset(connection: AsyncConnection, dataset: UUID) -> DatasetRow:
    """The dataset, with its experiment's owner, as the connection's caller sees it. Raises NotFound."""
    row = await datasets.get(connection, dataset)
    if row is None:
        raise NotFound("there is no such dataset")
    return row


async def lock_owned_experiment(connection: AsyncConnection, experiment: UUID, caller: Caller) -> RowMapping:
    """The experiment, changed by nobody else until the transaction ends. Raises NotFound, Forbidden."""
    require_owner((await get_visible_experiment(connection, experiment))["owner"], caller)
    row = await experiments.lock(connection, experiment)
    if row is None:
        raise NotFound("there is no such experiment")
    return row


async def lock_owned_dataset(connection: AsyncConnection, dataset: UUID, caller: Caller) -> DatasetRow:
    """The dataset, changed by nobody else until the transaction ends. Raises NotFound, Forbidden."""
    require_owner((await get_visible_dataset(connection, dataset)).owner, caller)
    row = await datasets.lock(connection, dataset)
    if row is None:
        raise NotFound("there is no such dataset")
    return row


def require_owner(owner: str | None, caller: Caller) -> None:
    """Raises Forbidden unless the caller owns the experiment or is an admin."""
    if owner != caller.subject and not caller.admin:
        raise Forbidden("only the owner of the experiment may change it")


def require_rfc3339(value: Any) -> Any:
    """pydantic also takes seconds since 1970; the document says date-time. Raises ValueError."""
    if isinstance(value, str) and "T" not in value.upper().strip() and " " not in value.strip():
        raise ValueError("write date, time and offset, as in 2026-01-01T00:00:00Z")
    return value


# A moment in a query: RFC 3339, with an offset.
Timestamp = Annotated[AwareDatetime, BeforeValidator(require_rfc3339)]

# An annotation; write it behind constraints, which would not see the stripped text otherwise.
StorableText = AfterValidator(storable_text)

"""Load experiments and datasets that the caller may see, and lock those that the caller owns."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Forbidden, NotFound
from service.routers.http.dependencies import ResourcesDep
from service.routers.settings import CatalogSettings
from service.store.catalog import datasets, experiments
from service.store.catalog.datasets import DatasetRow
from service.store.database import Caller, Database


async def catalog_settings(resources: ResourcesDep) -> CatalogSettings:
    return resources.catalog


CatalogDep = Annotated[CatalogSettings, Depends(catalog_settings)]


async def get_visible_experiment(connection: AsyncConnection, experiment: UUID) -> RowMapping:
    """The experiment, if the caller of this connection may see it. Raises NotFound."""
    row = await experiments.get(connection, experiment)
    if row is None:
        raise NotFound("there is no such experiment")
    return row


async def get_visible_dataset(connection: AsyncConnection, dataset: UUID) -> DatasetRow:
    """The dataset with the owner of its experiment, if the caller of this connection may see it. Raises NotFound."""
    row = await datasets.get(connection, dataset)
    if row is None:
        raise NotFound("there is no such dataset")
    return row


async def require_visible_dataset(database: Database, caller: Caller, dataset: UUID) -> None:
    """Raises NotFound if the caller may not see the dataset, or not any more."""
    async with database.caller_transaction(caller) as connection:
        await get_visible_dataset(connection, dataset)


async def lock_owned_experiment(connection: AsyncConnection, experiment: UUID, caller: Caller) -> RowMapping:
    """Lock the experiment until the transaction ends. Raises NotFound, Forbidden."""
    require_owner((await get_visible_experiment(connection, experiment))["owner"], caller)
    row = await experiments.lock(connection, experiment)
    if row is None:
        raise NotFound("there is no such experiment")
    return row


async def lock_owned_dataset(connection: AsyncConnection, dataset: UUID, caller: Caller) -> DatasetRow:
    """Lock the dataset until the transaction ends. Raises NotFound, Forbidden."""
    require_owner((await get_visible_dataset(connection, dataset)).owner, caller)
    row = await datasets.lock(connection, dataset)
    if row is None:
        raise NotFound("there is no such dataset")
    return row


def require_owner(owner: str | None, caller: Caller) -> None:
    """Raises Forbidden unless the caller owns the experiment or is an admin."""
    if owner != caller.subject and not caller.admin:
        raise Forbidden("only the owner of the experiment may change it")

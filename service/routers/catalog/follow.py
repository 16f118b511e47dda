"""Routes that have a dataset followed: new objects under its prefix become frames by themselves."""

from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from service.routers.catalog.access import get_visible_dataset, lock_owned_dataset
from service.routers.catalog.dataset_models import Dataset
from service.routers.catalog.datasets import dataset_etag, to_dataset
from service.routers.http.conditional_requests import ETAG_HEADERS
from service.routers.http.dependencies import CallerDep, DatabaseDep, SourcesDep, require_scope
from service.routers.http.problems import error_responses
from service.store.catalog import follows
from service.store.catalog.source_access import check_source
from service.store.database import switch_to_service_role

router = APIRouter(
    prefix="/api/datasets/{dataset_id}/follow",
    tags=["datasets"],
    dependencies=[Depends(require_scope("catalog:write"))],
)
log = structlog.get_logger("api")


@router.put(
    "",
    summary="Follow a dataset",
    response_model=Dataset,
    responses={200: {"headers": ETAG_HEADERS}, **error_responses(409)},
)
async def follow_dataset(
    dataset_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep, rules: SourcesDep
) -> Dataset:
    """From now on, objects that appear under the prefix become frames within ten seconds, in datasets of up to some
    thousands of objects; what was replaced or has vanished is taken over, too. Nothing changes if it is followed
    already. Finished videos stay as they are. Only for the owner of the experiment and admins; 409 if 200 datasets of
    the owner are followed."""
    async with database.caller_transaction(caller) as connection:
        await lock_owned_dataset(connection, dataset_id, caller)
        row = await get_visible_dataset(connection, dataset_id)
        check_source(row, rules)
        await switch_to_service_role(connection)
        await follows.follow(connection, dataset_id, row.owner or caller.subject)
        dataset = await _read(connection, dataset_id, response)
    log.info("a dataset is followed", dataset=str(dataset_id), user=caller.subject)
    return dataset


@router.delete("", summary="Unfollow a dataset", response_model=Dataset, responses={200: {"headers": ETAG_HEADERS}})
async def unfollow_dataset(dataset_id: UUID, response: Response, caller: CallerDep, database: DatabaseDep) -> Dataset:
    """Nothing is looked for any more; a scan that runs ends first. The frames stay. Nothing changes if it is not
    followed. Only for the owner of the experiment and admins."""
    async with database.caller_transaction(caller) as connection:
        await lock_owned_dataset(connection, dataset_id, caller)
        await switch_to_service_role(connection)
        await follows.unfollow(connection, dataset_id)
        dataset = await _read(connection, dataset_id, response)
    log.info("a dataset is not followed any more", dataset=str(dataset_id), user=caller.subject)
    return dataset


async def _read(connection: AsyncConnection, dataset: UUID, response: Response) -> Dataset:
    answer = to_dataset(await get_visible_dataset(connection, dataset))
    response.headers["ETag"] = dataset_etag(answer)
    return answer

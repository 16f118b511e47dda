"""GET /api/usage: what the caller stores, and how much he may."""

from typing import Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from service.routers.http.dependencies import CallerDep, ResourcesDep, require_scope
from service.routers.http.fields import EXAMPLE_DATASET_ID
from service.store import usage

router = APIRouter(prefix="/api/usage", tags=["operations"], dependencies=[Depends(require_scope("catalog:read"))])


class StoredItem(BaseModel):
    """Something that takes space."""

    kind: Literal["render", "dataset", "deleted_dataset"] = Field(
        description="`deleted_dataset`: its uploads were kept when it was deleted; deleting its experiment with "
        "`frames=true` deletes them"
    )
    id: UUID
    bytes: int


class UsageModel(BaseModel):
    """What the caller stores, in bytes: uploads into his experiments, and files of the renders that he asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "used_bytes": 190_004_000_000,
                    "allowed_bytes": 500_000_000_000,
                    "uploads_bytes": 189_000_000_000,
                    "announced_bytes": 0,
                    "results_bytes": 1_000_000_000,
                    "expected_bytes": 4_000_000,
                    "cached_bytes": 1_100_000_000,
                    "largest": [{"kind": "dataset", "id": EXAMPLE_DATASET_ID, "bytes": 189_000_000_000}],
                }
            ]
        }
    )
    used_bytes: int = Field(description="what counts for the quota: all of these but `cached_bytes`")
    allowed_bytes: int | None = Field(description="the quota (`REELMILL_OWNER_QUOTA`); null: none")
    uploads_bytes: int = Field(description="uploaded files, also those that were kept when their dataset was deleted")
    announced_bytes: int = Field(description="uploads that may still arrive, until an hour after their URL expires")
    results_bytes: int = Field(description="videos, posters, receipts and artifacts of renders")
    expected_bytes: int = Field(description="unfinished renders, by their estimates")
    cached_bytes: int = Field(description="cached segments of these renders, which the service evicts when it likes")
    largest: list[StoredItem] = Field(description=f"what takes most, at most {usage.MAX_LARGEST}")


@router.get("", summary="What do I store?")
async def get_usage(caller: CallerDep, resources: ResourcesDep) -> UsageModel:
    """Bytes that the caller stores, by kind, and how many he may. A render that several asked for counts for each. A
    file that is uploaded again counts twice for up to an hour."""
    async with resources.database.service_transaction() as connection:
        found = await usage.measure_usage(connection, caller.subject)
        cached = await usage.measure_cached(connection, caller.subject)
        largest = await usage.list_largest(connection, caller.subject)
    return UsageModel(
        used_bytes=found.used,
        allowed_bytes=resources.storage.quota_of(caller.subject),
        uploads_bytes=found.uploads,
        announced_bytes=found.announced,
        results_bytes=found.results,
        expected_bytes=found.expected,
        cached_bytes=cached,
        largest=[StoredItem(kind=row.kind, id=row.id, bytes=row.bytes) for row in largest],
    )

"""The response to DELETE: what was removed and what was kept."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from service.store.deletion import DeletionPlan
from service.store.objects.object_store import ObjectStore

Frames = Annotated[
    bool, Query(description="also delete the files that were uploaded; files in source buckets always stay")
]
Force = Annotated[bool, Query(description="cancel unfinished renders instead of answering 409")]


class KeptObjects(BaseModel):
    """Source frames or videos, which belong to the user and stay where they are."""

    bucket: str
    prefix: str


class Deleted(BaseModel):
    """What was removed. Files are removed from the object store within a minute."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "datasets": 1,
                    "frames": 899,
                    "renders": 2,
                    "cancelled": 0,
                    "objects": 6,
                    "segments": 12,
                    "uploads": 0,
                    "kept": [{"bucket": "microscope", "prefix": "2026-03-01/camera-1/"}],
                    "requested_by_others": False,
                }
            ]
        }
    )
    datasets: int
    frames: int = Field(description="frame rows; the source files are kept")
    renders: int = Field(description="renders, including their videos, posters and receipts")
    cancelled: int = Field(description="renders that had not finished")
    objects: int = Field(description="videos, posters and receipts of the renders")
    segments: int = Field(description="cached segments that no other render uses")
    uploads: int = Field(description="uploaded files, if `frames` was set")
    kept: list[KeptObjects] = Field(description="where source objects of the datasets stay stored")
    requested_by_others: bool = Field(
        default=False, description="the render stays, because others asked for it: it is only no longer the caller's"
    )


async def count_objects(objects: ObjectStore, prefix: str) -> int:
    """How many objects there are under this prefix of the service's own bucket."""
    return sum([len(page) async for page in objects.list(objects.bucket, prefix)])


def to_deleted(plan: DeletionPlan, uploads: int | None = None) -> Deleted:
    """`uploads` is how many uploaded files are deleted, None if they are kept."""
    gone = () if uploads is None else tuple(plan.upload_prefixes)
    return Deleted(
        datasets=len(plan.datasets),
        frames=sum(row.frame_count for row in plan.datasets),
        renders=len(plan.renders),
        cancelled=len(plan.active_renders),
        objects=plan.object_count,
        segments=sum(row.cached and not row.shared for row in plan.segments),
        uploads=uploads or 0,
        kept=[
            KeptObjects(bucket=row.bucket, prefix=row.prefix)
            for row in plan.datasets
            if not (row.bucket == plan.bucket and row.prefix.startswith(gone))
        ],
    )


def kept_for_others() -> Deleted:
    """Nothing was removed from the store, because others asked for it, too."""
    counts = dict.fromkeys(("datasets", "frames", "renders", "cancelled", "objects", "segments", "uploads"), 0)
    return Deleted(**counts, kept=[], requested_by_others=True)

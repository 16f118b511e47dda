"""The response to DELETE: what was removed and what was kept."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from service.store.deletion import DeletionPlan

Force = Annotated[bool, Query(description="cancel unfinished renders instead of answering 409")]


class KeptObjects(BaseModel):
    """Source frames or videos, which belong to the user and stay where they are."""

    bucket: str
    prefix: str


class Deleted(BaseModel):
    """What was removed. The files of renders are removed from the object store within seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "datasets": 1,
                    "frames": 899,
                    "renders": 2,
                    "cancelled": 0,
                    "objects": 6,
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
    objects: int = Field(description="files of the renders; cached segments are kept for other renders")
    kept: list[KeptObjects] = Field(description="where the source objects of the datasets are stored")
    requested_by_others: bool = Field(
        False, description="the render stays, because others asked for it: it is only no longer the caller's"
    )


def to_deleted(plan: DeletionPlan) -> Deleted:
    return Deleted(
        datasets=len(plan.datasets),
        frames=sum(row.frame_count for row in plan.datasets),
        renders=len(plan.renders),
        cancelled=len(plan.active_renders),
        objects=plan.object_count,
        kept=[KeptObjects(bucket=row.bucket, prefix=row.prefix) for row in plan.datasets],
        requested_by_others=False,
    )


def no_deletion(*, requested_by_others: bool) -> Deleted:
    """Nothing was removed from the store."""
    counts = dict.fromkeys(("datasets", "frames", "renders", "cancelled", "objects"), 0)
    return Deleted(**counts, kept=[], requested_by_others=requested_by_others)

"""The response to a DELETE: what was removed and what was kept."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from service.store.deletion import DeletionPlan

Force = Annotated[bool, Query(description="end renders that are under way instead of refusing with 409")]


class KeptObjects(BaseModel):
    """Source frames or videos that lie where they lay: they are the user's."""

    bucket: str
    prefix: str


class Deleted(BaseModel):
    """What was removed. Files of renders leave the object store within seconds."""

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
                }
            ]
        }
    )
    datasets: int
    frames: int = Field(description="rows about frames; the frames themselves are kept")
    renders: int = Field(description="with their videos, posters and receipts")
    cancelled: int = Field(description="those of the renders that were under way")
    objects: int = Field(description="files of the renders; cached segments stay for other renders")
    kept: list[KeptObjects] = Field(description="where the source objects of the datasets lie, untouched")


def to_deleted(plan: DeletionPlan) -> Deleted:
    return Deleted(
        datasets=len(plan.datasets),
        frames=sum(row.frame_count for row in plan.datasets),
        renders=len(plan.renders),
        cancelled=len(plan.active_renders),
        objects=plan.object_count,
        kept=[KeptObjects(bucket=row.bucket, prefix=row.prefix) for row in plan.datasets],
    )

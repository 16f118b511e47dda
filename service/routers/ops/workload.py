"""GET /api/workload: the queue, and what the fleet did in the last hour."""

from typing import Any, Literal, Self

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from service.jobs import workload
from service.routers.http.dependencies import DatabaseDep, require_scope

router = APIRouter(prefix="/api/workload", tags=["operations"], dependencies=[Depends(require_scope("ops:read"))])
TaskKind = Literal["segment", "assemble", "scan", "preview", "webhook"]
DEVICE = Field(description="`cpu`, or the GPU of the worker", examples=["cuda:0"])
EXAMPLE: dict[str, Any] = {
    "window_seconds": 3600,
    "queue": [{"kind": "segment", "state": "queued", "count": 12, "oldest_seconds": 3.4}],
    "finished": [{"kind": "segment", "device": "cpu", "count": 40, "frames": 9600, "seconds": 81.5}],
    "stages": [{"stage": "encode", "device": "cpu", "segments": 40, "frames": 9600, "seconds": 44.1}],
    "placements": [{"stage": "encode", "device": "cpu", "reason": "libx264 veryfast, one thread a slot", "renders": 3}],
    "failures": [
        {"kind": "segment", "device": "cuda:0", "code": "worker_lost", "count": 1, "reason": "no heartbeat of render-1"}
    ],
    "fallbacks": [{"stage": "decode", "reason": "unsupported", "frames": 17}],
}


class QueueFigure(BaseModel):
    """Tasks of a kind that wait or run."""

    kind: TaskKind
    state: Literal["queued", "running"]
    count: int
    oldest_seconds: float = Field(description="age of the oldest")


class FinishedFigure(BaseModel):
    """Tasks that succeeded. `seconds` is how long they ran, together."""

    kind: TaskKind
    device: str = DEVICE
    count: int
    frames: int = Field(description="of segments")
    seconds: float


class StageFigure(BaseModel):
    """What a stage took in segments that were rendered, by the device that these were placed on."""

    stage: str = Field(examples=["encode"])
    device: str = DEVICE
    segments: int
    frames: int
    seconds: float


class PlacementFigure(BaseModel):
    """Where a stage of new renders was planned, and why there."""

    stage: str = Field(examples=["encode"])
    device: str
    reason: str
    renders: int


class FailureFigure(BaseModel):
    """Attempts that did not succeed, with the reason of the last one."""

    kind: str = Field(examples=["segment"])
    device: str = DEVICE
    code: str = Field(examples=["worker_lost"])
    count: int
    reason: str


class FallbackFigure(BaseModel):
    """Frames that took another path than planned, since the live workers began."""

    stage: str = Field(examples=["decode"])
    reason: str = Field(examples=["unsupported"])
    frames: int


class WorkloadModel(BaseModel):
    """The queue now, and the last hour."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    window_seconds: int = Field(description="of all but `queue` and `fallbacks`")
    queue: list[QueueFigure]
    finished: list[FinishedFigure]
    stages: list[StageFigure]
    placements: list[PlacementFigure]
    failures: list[FailureFigure]
    fallbacks: list[FallbackFigure]

    @classmethod
    def from_workload(cls, found: workload.Workload) -> Self:
        queue = [
            QueueFigure(
                kind=row["kind"],
                state=row["state"],
                count=row["count"],
                oldest_seconds=round(max(row["oldest_s"], 0), 1),
            )
            for row in found.queue
        ]
        return cls(
            window_seconds=workload.WINDOW_S,
            queue=queue,
            finished=[FinishedFigure(**row) for row in found.finished],
            stages=[StageFigure(**row) for row in found.stages],
            placements=[PlacementFigure(**row) for row in found.placements],
            failures=[FailureFigure(**row) for row in found.failures],
            fallbacks=[FallbackFigure(**row) for row in found.fallbacks],
        )


@router.get("", summary="What waits, and what was done in the last hour")
async def read_workload(database: DatabaseDep) -> WorkloadModel:
    """The queue by kind, with the age of the oldest task; and of the last hour: finished tasks, the seconds of each
    stage by device, where stages were planned and why, and failed attempts. Fallbacks are counted since the live
    workers began."""
    async with database.service_transaction() as connection:
        return WorkloadModel.from_workload(await workload.measure_workload(connection))

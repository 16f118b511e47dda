"""Models of renders: list query, change and responses."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from service.routers.http.fields import EXAMPLE_DATASET_ID, EXAMPLE_EXPERIMENT_ID, RequestModel, Timestamp
from service.routers.http.pagination import PageQuery
from service.store.renders.parts import PartState

RenderStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
TERMINAL_STATUSES: tuple[RenderStatus, ...] = ("succeeded", "failed", "cancelled")


class VideoQuery(PageQuery):
    """Filters, order and page of the list of renders."""

    sort: Literal["-created_at", "created_at"] = Field("-created_at", description="prefix `-`: descending")
    status: RenderStatus | None = Field(None, description="only renders with this status")
    experiment_id: UUID | None = Field(None, description="only renders of this experiment")
    dataset_id: UUID | None = Field(None, description="only renders of this dataset")
    mine: bool = Field(False, description="only renders that the caller asked for")
    created_after: Timestamp | None = Field(
        None, description="created later than this", examples=["2026-01-01T00:00:00Z"]
    )
    created_before: Timestamp | None = Field(None, description="created earlier than this")


class RenderChange(RequestModel):
    """The changes of a render that has not started."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 9}]})
    priority: int = Field(ge=0, le=9, description="renders of a higher priority start first")


EXAMPLE_JOB_ID = "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44"
EXAMPLE_STAGES = {
    "fetch": {"device": "cpu", "reason": "objects are read ahead of the decoder"},
    "encode": {"device": "cpu", "reason": "libx264 veryfast, one thread a slot"},
}
EXAMPLE_ATTEMPT = {
    "task": "segment",
    "segment": 3,
    "worker": "render-1:4711",
    "device": "cpu",
    "started_at": "2026-03-01T11:00:06Z",
    "ended_at": "2026-03-01T11:00:09Z",
    "code": "worker_lost",
    "reason": "no heartbeat of the worker render-1:4711",
    "counted": False,
}
EXAMPLE_ESTIMATE = {"frames": 225, "seconds": 3.4, "bytes": 4_100_000}


EXAMPLE_STATUS: dict[str, Any] = {
    "job_id": EXAMPLE_JOB_ID,
    "experiment_id": EXAMPLE_EXPERIMENT_ID,
    "dataset_id": EXAMPLE_DATASET_ID,
    "owner": "camera-lab",
    "mine": True,
    "requested_by_others": False,
    "status": "running",
    "phase": "rendering",
    "priority": 0,
    "frames_done": 120,
    "frames_total": 225,
    "fps": 66.2,
    "eta_seconds": 1.6,
    "attempts": 2,
    "failed_attempts": [EXAMPLE_ATTEMPT],
    "waiting_for": None,
    "stages": EXAMPLE_STAGES,
    "options": {"codec": "h264", "fps": "30", "width": 1920, "height": 1080},
    "error": None,
    "video_url": None,
    "poster_url": None,
    "receipt_url": None,
    "video_bytes": None,
    "video_sha256": None,
    "summary": None,
    "created_at": "2026-03-01T11:00:05Z",
    "started_at": "2026-03-01T11:00:06Z",
    "finished_at": None,
    "preset": None,
    "expires_at": None,
}


def _with_example(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class EstimateModel(BaseModel):
    """The estimated cost, from recent segments of the same codec on the workers that are alive now."""

    model_config = _with_example(**EXAMPLE_ESTIMATE)
    frames: int
    seconds: float = Field(description="from the first task to the end, without waiting for other renders")
    bytes: int
    reused_frames: int = Field(0, description="frames in cached segments, which cost nothing")
    stages: dict[str, float] = Field(
        default_factory=dict, description="measured seconds per frame in each stage; empty without measurements"
    )


class JobAccepted(BaseModel):
    """The URLs of the render, and of the video if it exists already."""

    model_config = _with_example(
        job_id=EXAMPLE_JOB_ID,
        status="queued",
        status_url=f"/api/videos/{EXAMPLE_JOB_ID}",
        video_url=None,
        estimate=EXAMPLE_ESTIMATE,
        plan=EXAMPLE_STAGES,
    )
    job_id: UUID
    status: RenderStatus
    status_url: str
    video_url: str | None = None
    estimate: EstimateModel | None = None
    plan: dict[str, Any] = Field(default_factory=dict, description="device and reason of each stage")
    stream_url: str | None = Field(None, description="HLS playlist, playable during the render")


class DryRun(BaseModel):
    """The estimate and plan of a render that was not started."""

    model_config = _with_example(estimate=EXAMPLE_ESTIMATE, plan=EXAMPLE_STAGES)
    estimate: EstimateModel
    plan: dict[str, Any]


class FailedAttempt(BaseModel):
    """An attempt of a task of a render that did not succeed."""

    model_config = _with_example(**EXAMPLE_ATTEMPT)
    task: Literal["segment", "assemble"]
    segment: int | None = Field(description="number of the segment; null for the assembly")
    worker: str | None = Field(description="machine and process")
    device: str = Field(description="`cpu`, or the GPU that it used")
    started_at: datetime | None
    ended_at: datetime
    code: str
    reason: str
    counted: bool = Field(description="false: not the task's fault, as when its worker was stopped")


class PresetUse(BaseModel):
    """A preset that a request named."""

    id: UUID
    name: str = Field(description="which it had then")


class VideoStatus(BaseModel):
    """The status of a render."""

    model_config = _with_example(**EXAMPLE_STATUS)
    job_id: UUID
    experiment_id: UUID
    dataset_id: UUID
    owner: str | None = Field(
        description="who asked first; only that person, the owner of the experiment and admins see it"
    )
    mine: bool = Field(description="whether the caller asked for it")
    requested_by_others: bool = Field(description="whether somebody else asked for it, too")
    status: RenderStatus
    phase: str
    priority: int
    frames_done: int
    frames_total: int
    fps: float | None = Field(description="frames rendered per second so far, without reused frames")
    eta_seconds: float | None
    attempts: int = Field(description="how often the task was started that was started most often")
    failed_attempts: list[FailedAttempt] = Field(description="those that did not succeed, newest first, at most 20")
    waiting_for: str | None = Field(
        None, description="why no worker goes on with it, if none could", examples=["no live worker offers encode av1"]
    )
    stages: dict[str, Any]
    options: dict[str, Any]
    error: dict[str, Any] | None
    video_url: str | None
    poster_url: str | None
    receipt_url: str | None
    video_bytes: int | None
    video_sha256: str | None
    summary: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    preset: PresetUse | None = Field(None, description="the first one that who asked first named")
    expires_at: datetime | None = Field(
        None, description="when the render is deleted, with its files; null: never, or not known before it has ended"
    )
    stream_url: str | None = Field(None, description="HLS playlist, playable during the render")
    preview_url: str | None = Field(None, description="WebVTT for the preview sheet, if requested")
    keogram_url: str | None = Field(None, description="image with one column per frame, if requested")


class RenderPart(BaseModel):
    """Output frames that follow each other and are in one state."""

    model_config = _with_example(first=120, frames=30, state="making")
    first: int = Field(description="the first output frame; before the end, as if no frame were skipped")
    frames: int
    state: PartState = Field(description="`reused` is made by another render; `pending` has not begun")


class RenderDetail(VideoStatus):
    """The status of one render, what was asked for, and what there is of its video."""

    model_config = _with_example(
        **EXAMPLE_STATUS,
        request={"decimation_factor": 2, "fps": 30},
        parts=[{"first": 120, "frames": 30, "state": "making"}],
    )
    request: dict[str, Any] = Field(
        description="the body of POST /api/videos/generate of who asked first, with all options, also those of its "
        "preset; without `preset` and `webhook_url`"
    )
    parts: list[RenderPart] = Field(description="all output frames, in order")

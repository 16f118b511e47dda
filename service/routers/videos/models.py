"""Request and response models of renders."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.plan.formats import ARTIFACT_FILES, BLACK, Codec, Container, Output
from service.plan.geometry import CropSpec, DecimationMode
from service.plan.render_plan import FramePolicy, MismatchPolicy
from service.plan.request import RenderRequest
from service.plan.segments import FrameRangeSpec
from service.plan.timing import Timing
from service.routers.catalog.access import Timestamp
from service.routers.http.pagination import PageQuery
from service.routers.videos.request_models import BackgroundColour, OverlayModel, ToneRequest

EXAMPLE_CROP: dict[str, JsonValue] = {"x": 320, "y": 180, "width": 1280, "height": 720}
RenderStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class VideoQuery(PageQuery):
    """Which renders, in which order, how many."""

    sort: Literal["-created_at", "created_at"] = Field("-created_at", description="`-` is descending")
    status: RenderStatus | None = Field(None, description="only those in this state")
    experiment_id: UUID | None = Field(None, description="only those of this experiment")
    dataset_id: UUID | None = Field(None, description="only those of this dataset")
    mine: bool = Field(False, description="only those the caller asked for")
    created_after: Timestamp | None = Field(None, description="not included", examples=["2026-01-01T00:00:00Z"])
    created_before: Timestamp | None = Field(None, description="not included")


class FrameRange(BaseModel):
    """Source frames start (included) to stop (excluded), counted from 0; or from the first to the last one captured
    between `from` (included) and `to` (excluded). A time without an offset is the camera's own clock."""

    model_config = ConfigDict(extra="forbid")
    start: int = Field(0, ge=0, description="first source frame", examples=[0])
    stop: int | None = Field(
        None, ge=1, description="one past the last source frame; unset: to the end", examples=[900]
    )
    since: datetime | None = Field(
        None, alias="from", description="capture time to begin at, instead of start", examples=["2026-05-04T06:00:00Z"]
    )
    until: datetime | None = Field(
        None, alias="to", description="capture time to end before, instead of stop", examples=["2026-05-04T18:00:00Z"]
    )


class CropModel(BaseModel):
    """A part of the picture, in pixels of an upright source frame of the dataset's usual size."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE_CROP]})
    x: int = Field(ge=0, le=65_535, description="left edge, counted from the left")
    y: int = Field(ge=0, le=65_535, description="upper edge, counted from the top")
    width: int = Field(ge=2, le=65_535, description="width of the part; it must lie inside the frame")
    height: int = Field(ge=2, le=65_535, description="height of the part; it must lie inside the frame")


class VideoGenerationRequest(BaseModel):
    """A render: which frames, how fast, how large, how good."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"experiment_id": "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11", "decimation_factor": 4, "fps": 30},
            ]
        },
    )
    experiment_id: UUID = Field(description="the experiment whose frames to render")
    decimation_factor: int = Field(
        ge=1, le=100_000, description="one output frame for N source frames", examples=[1, 4]
    )
    fps: float | None = Field(
        None,
        ge=0.1,
        le=240,
        description="output frames per second; needed unless duration_seconds is given or timing is captured",
        examples=[30],
    )
    dataset_id: UUID | None = Field(None, description="needed when the experiment has several datasets")
    frames: FrameRange | None = Field(None, description="a part of the sequence; unset: all of it")
    width: int | None = Field(None, ge=2, le=16384, description="output width in pixels", examples=[1280])
    height: int | None = Field(None, ge=2, le=16384, description="output height in pixels")
    scale: float | None = Field(None, gt=0, le=8, description="output size as a factor of the source's", examples=[0.5])
    codec: Codec = Field(
        "h264",
        description="h264 plays everywhere; av1 is faster and smaller; hevc is for Apple's players; mjpeg copies JPEG "
        "frames as they are and opens in Fiji; ffv1 keeps every sample, 16-bit gray too",
    )
    quality: int = Field(70, ge=0, le=100, description="one scale for all codecs; 70 is x264's crf 23")
    missing: FramePolicy = Field("skip", description="what to do for frames that are not there")
    corrupt: FramePolicy = Field("hold", description="what to do for frames that cannot be decoded")
    mismatch: MismatchPolicy = Field("pad", description="what to do for frames of another shape")
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="where to run; auto never fails for lack of a GPU"
    )
    priority: int = Field(0, ge=0, le=9, description="renders of a higher priority start first")
    webhook_url: str | None = Field(
        None,
        max_length=2000,
        description="is sent a signed message (Standard Webhooks) when the render has ended",
        examples=["https://lab.example/hooks/reelmill"],
    )
    dry_run: bool = Field(False, description="only estimate, make nothing")
    tone: ToneRequest | None = Field(
        None, description="unset: frames deeper than 8 bits get mode percentile, others are shown as they are"
    )
    background: BackgroundColour = Field(
        BLACK, description="what shows through transparent pixels: #rrggbb or a name", examples=["white", "#202020"]
    )
    container: Container | None = Field(
        None,
        description="the file format; unset: mp4 for h264, hevc and av1, avi for mjpeg (mov with timing captured), mkv "
        "for ffv1. mov holds h264, hevc and mjpeg; mkv holds all; avi cannot hold pictures of unequal length",
        examples=["mov"],
    )
    crop: CropModel | None = Field(None, description="show a part only", examples=[EXAMPLE_CROP])
    rotate: Literal[0, 90, 180, 270] = Field(
        0,
        description="degrees clockwise, after the crop; width, height and scale come last",
        examples=[90],
    )
    decimation_mode: DecimationMode = Field(
        "drop",
        description="of N neighbours, drop keeps the first and never reads the others, mean averages them, "
        "max keeps the brightest of each pixel",
        examples=["mean"],
    )
    duration_seconds: float | None = Field(
        None, gt=0, le=86_400, description="how long the video is to last, instead of fps", examples=[12.5]
    )
    timing: Timing = Field(
        "uniform",
        description="uniform shows every picture for 1/fps seconds; captured spaces them as they were captured, "
        "and fps is then only the nominal rate in the file",
        examples=["captured"],
    )
    speed: float | None = Field(
        None, gt=0, le=10_000_000, description="seconds of capture in a second of video, with timing captured; unset: 1"
    )
    overlay: OverlayModel | None = Field(None, description="text and a scale bar over the picture")
    outputs: list[Output] = Field(
        default_factory=list,
        max_length=len(ARTIFACT_FILES),
        description="what to make besides the video: preview_strip is a sheet of small pictures with WebVTT for the "
        "seek bar, keogram has the middle column of every frame side by side",
        examples=[["preview_strip", "keogram"]],
    )

    def to_request(self) -> RenderRequest:
        """The request as planning takes it; neither `dry_run` nor `webhook_url` is part of it."""
        frames, crop = self.frames, self.crop
        return RenderRequest(
            experiment_id=self.experiment_id,
            decimation_factor=self.decimation_factor,
            fps=self.fps,
            dataset_id=self.dataset_id,
            frames=FrameRangeSpec(frames.start, frames.stop, frames.since, frames.until) if frames else None,
            width=self.width,
            height=self.height,
            scale=self.scale,
            codec=self.codec,
            quality=self.quality,
            missing=self.missing,
            corrupt=self.corrupt,
            mismatch=self.mismatch,
            device=self.device,
            priority=self.priority,
            tone=self.tone.to_spec() if self.tone else None,
            background=self.background,
            container=self.container,
            crop=CropSpec(crop.x, crop.y, crop.width, crop.height) if crop else None,
            rotate=self.rotate,
            decimation_mode=self.decimation_mode,
            duration_seconds=self.duration_seconds,
            timing=self.timing,
            speed=self.speed,
            overlay=self.overlay.to_spec() if self.overlay else None,
            outputs=tuple(self.outputs),
        )

    def to_document(self) -> dict[str, Any]:
        """The request as it is stored with the render, which others may read: without the webhook's address."""
        return self.model_dump(mode="json", by_alias=True, exclude={"webhook_url"})


class RenderChange(BaseModel):
    """What may be changed about a render that has not begun."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"priority": 9}]})
    priority: int = Field(ge=0, le=9, description="renders of a higher priority start first")


EXAMPLE_EXPERIMENT_ID = "0197a3c2-7d10-7cc2-9d5e-2f1b6f0f6c11"
EXAMPLE_JOB_ID = "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44"
EXAMPLE_STAGES = {
    "fetch": {"device": "cpu", "reason": "objects are read ahead of the decoder"},
    "encode": {"device": "cpu", "reason": "libx264 veryfast, one thread a slot"},
}
EXAMPLE_ESTIMATE = {"frames": 225, "seconds": 3.4, "bytes": 4_100_000}


def _with_example(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class EstimateModel(BaseModel):
    """The cost that was foretold, from what segments of the same codec took lately on the workers that live now."""

    model_config = _with_example(**EXAMPLE_ESTIMATE)
    frames: int
    seconds: float = Field(description="from its first task to its end; waiting for other renders is not in it")
    bytes: int
    reused_frames: int = Field(0, description="frames whose segments are cached: they cost nothing")
    stages: dict[str, float] = Field(
        default_factory=dict, description="measured seconds of one frame in each stage; empty before any was measured"
    )


class JobAccepted(BaseModel):
    """Where to look for the render, or for the video when it existed already."""

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
    plan: dict[str, Any] = Field(default_factory=dict, description="stage: device and reason")
    stream_url: str | None = Field(None, description="HLS, playable while it renders")


class DryRun(BaseModel):
    """What the render would cost; nothing was made."""

    model_config = _with_example(estimate=EXAMPLE_ESTIMATE, plan=EXAMPLE_STAGES)
    estimate: EstimateModel
    plan: dict[str, Any]


class VideoStatus(BaseModel):
    """A render, told for people and for scripts."""

    model_config = _with_example(
        job_id=EXAMPLE_JOB_ID,
        experiment_id=EXAMPLE_EXPERIMENT_ID,
        dataset_id="0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d4",
        owner="camera-lab",
        status="running",
        phase="rendering",
        priority=0,
        frames_done=120,
        frames_total=225,
        fps=66.2,
        eta_seconds=1.6,
        attempts=1,
        stages=EXAMPLE_STAGES,
        options={"codec": "h264", "fps": "30", "width": 1920, "height": 1080},
        error=None,
        video_url=None,
        poster_url=None,
        receipt_url=None,
        video_bytes=None,
        video_sha256=None,
        summary=None,
        created_at="2026-03-01T11:00:05Z",
        started_at="2026-03-01T11:00:06Z",
        finished_at=None,
    )
    job_id: UUID
    experiment_id: UUID
    dataset_id: UUID
    owner: str
    status: RenderStatus
    phase: str
    priority: int
    frames_done: int
    frames_total: int
    fps: float | None = Field(description="frames rendered per second so far, those reused not counted")
    eta_seconds: float | None
    attempts: int
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
    stream_url: str | None = Field(None, description="HLS, playable while it renders")
    preview_url: str | None = Field(None, description="WebVTT over a sheet of small pictures, if it was asked for")
    keogram_url: str | None = Field(None, description="a column for each frame, if it was asked for")

"""The body of POST /api/videos/generate, and which of its options a preset may have."""

from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from service.plan.formats import ARTIFACT_FILES, Container, Effort, Output
from service.plan.requests.request import RenderRequest
from service.routers.http.fields import EXAMPLE_EXPERIMENT_ID, StorableText, at_most
from service.routers.videos.picture_options import PictureOptions, PresetReference
from service.store.settings import MAX_AGE_DAYS


class PresetOptions(PictureOptions):
    """Options of a render, each of which may be left out: what a preset has is what is set in it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"decimation_factor": 4, "fps": 30, "codec": "av1", "quality": 80}]}
    )
    quality: int = Field(70, ge=0, le=100, description="one scale for all codecs; 70 corresponds to CRF 23 of x264")
    effort: Effort = Field(
        "balanced",
        description="at the same quality, fast takes less time and more bytes, small more time and fewer bytes; "
        "fast is for h264 and ffv1, and balanced for others",
    )
    device: Literal["auto", "cuda", "cpu"] = Field("auto", description="where to run; auto falls back to the CPU")
    priority: int = Field(0, ge=0, le=9, description="renders with a higher priority start first")
    keep_days: int | None = Field(
        None,
        ge=1,
        le=MAX_AGE_DAYS,
        description="days after which the finished render may be deleted, see `expires_at` of its status; unset: as "
        "the service keeps all; only admins may ask for more than that",
        examples=[7],
    )
    container: Container | None = Field(
        None,
        description="file format; unset: mp4 for h264, hevc and av1, avi for mjpeg (mov with timing captured), mkv for "
        "ffv1. mov supports h264, hevc and mjpeg; mkv supports all; avi supports only a constant frame rate",
        examples=["mov"],
    )
    outputs: Annotated[list[Output], at_most(len(ARTIFACT_FILES))] = Field(
        default_factory=list,
        max_length=len(ARTIFACT_FILES),
        description="additional files: preview_strip is a sheet of thumbnails with WebVTT for the seek bar; keogram "
        "shows the middle column of every frame side by side",
        examples=[["preview_strip", "keogram"]],
    )


class VideoGenerationRequest(PresetOptions):
    """A render: frames, frame rate, size, codec and quality."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"experiment_id": EXAMPLE_EXPERIMENT_ID, "decimation_factor": 4, "fps": 30},
            ]
        },
    )
    experiment_id: UUID = Field(description="the experiment whose frames to render")
    # A default factory, because the schema would show a default value, which does not apply.
    decimation_factor: int = Field(
        default_factory=int,
        ge=1,
        le=100_000,
        description="one output frame per N source frames; required unless the preset has it",
        examples=[1, 4],
    )
    dataset_id: UUID | None = Field(None, description="required if the experiment has several datasets")
    preset: PresetReference = None
    webhook_url: Annotated[str, StorableText] | None = Field(
        None,
        max_length=2000,
        description="receives a signed message (Standard Webhooks) when the render ends",
        examples=["https://lab.example/hooks/reelmill"],
    )
    dry_run: bool = Field(False, description="only plan and estimate")

    def to_request(self) -> RenderRequest:
        """The request for planning, without `dry_run`, `keep_days`, `preset` and `webhook_url`."""
        return replace(
            self.to_picture_request(self.experiment_id, self.dataset_id),
            quality=self.quality,
            effort=self.effort,
            device=self.device,
            priority=self.priority,
            container=self.container,
            outputs=tuple(self.outputs),
        )

    def to_document(self) -> dict[str, Any]:
        """The JSON document to store with the render. It omits the webhook URL, because other users may read it, and
        the preset: all options are in the document, so it makes the same render when the preset has changed."""
        left_out = {"webhook_url", "preset", "idempotency_key"}
        return self.model_dump(mode="json", by_alias=True, exclude=left_out)

    def as_sent(self) -> dict[str, Any] | None:
        """What an idempotency key is for if the request names a preset: it, and the options beside it; else None."""
        if self.preset is None:
            return None
        left_out = {"webhook_url", "idempotency_key"}
        return self.model_dump(mode="json", by_alias=True, exclude=left_out, exclude_unset=True)

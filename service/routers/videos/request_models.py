"""The body of POST /api/videos/generate."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from service.plan.formats import ARTIFACT_FILES, BLACK, Codec, Container, Output, canonical_colour
from service.plan.geometry import CropSpec, DecimationMode
from service.plan.overlay import Corner, OverlaySpec, ScaleBarSpec, Unit
from service.plan.render_plan import FramePolicy, MismatchPolicy
from service.plan.request import RenderRequest
from service.plan.segments import FrameRangeSpec
from service.plan.timing import Timing
from service.plan.tone import Colormap, ToneMode, ToneSpec
from service.routers.http.fields import EXAMPLE_EXPERIMENT_ID, RequestModel

EXAMPLE_CROP: dict[str, JsonValue] = {"x": 320, "y": 180, "width": 1280, "height": 720}
BackgroundColour = Annotated[str, AfterValidator(canonical_colour), Field(max_length=20)]


class ToneRequest(RequestModel):
    """How samples deeper than 8 bits, or gray ones of 8 bits, become levels: one window for the whole sequence.

    `full`: what the samples can hold (0 to 65535; floats 0 to 1). `minmax`: the smallest to the largest sample.
    `percentile`: between two percentiles. `fixed`: between two sample values, the choice for sequences that still grow
    or are compared. Minimum, maximum and percentiles come from up to 64 frames over the sequence; what lies outside the
    window is cut off, and the receipt counts it for each frame.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"mode": "percentile", "low": 1, "high": 99.9, "colormap": "viridis"},
                {"mode": "fixed", "low": 400, "high": 12000, "gamma": 0.6},
            ]
        },
    )
    mode: ToneMode = Field("percentile", description="where the window comes from")
    low: float | None = Field(
        None, allow_inf_nan=False, description="a percent (unset: 0.35); in mode fixed a sample value"
    )
    high: float | None = Field(
        None,
        allow_inf_nan=False,
        description="percent (unset: 99.65) or, in mode fixed, sample value",
        examples=[99.65],
    )
    gamma: float = Field(
        1.0, ge=0.05, le=20, description="exponent within the window; below 1 brightens", examples=[0.7]
    )
    colormap: Colormap = Field("gray", description="for gray frames", examples=["viridis"])
    inverse: bool = Field(False, description="dark becomes bright")

    def to_spec(self) -> ToneSpec:
        return ToneSpec(self.mode, self.low, self.high, self.gamma, self.colormap, self.inverse)


EXAMPLE_OVERLAY: dict[str, JsonValue] = {
    "frame_index": True,
    "captured_at": True,
    "text": "Arabidopsis, 22 °C",
    "scale_bar": {"length": 100, "unit": "um"},
}


class ScaleBarModel(RequestModel):
    """A bar of this length in the scene; the experiment's `metadata.pixel_size_um` says how large a source pixel is."""

    length: float = Field(gt=0, le=1e9, description="length of the bar, in the unit", examples=[100])
    unit: Unit = Field("um", description="unit of the length; um is written µm")


class OverlayModel(RequestModel):
    """Text over the picture, light with a dark outline on a dim ground, sized by the output's height."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_OVERLAY]})
    frame_index: bool = Field(False, description="the source frame's position in the dataset; of a bin, the first")
    captured_at: bool = Field(False, description="its capture time: UTC, or the camera's clock if it gives no offset")
    elapsed: bool = Field(
        False, description="capture time since the first frame or, where none has one, time in the video"
    )
    text: str = Field("", max_length=200, description="free text, wrapped to the width", examples=["Well B7"])
    scale_bar: ScaleBarModel | None = Field(None, description="a bar of known length")
    position: Corner = Field("bottom_left", description="corner of the text; the scale bar is in the one beside it")
    size: int | None = Field(
        None, ge=8, le=1000, description="height of a line in pixels; unset: a 28th of the output's height"
    )

    def to_spec(self) -> OverlaySpec:
        bar = self.scale_bar
        return OverlaySpec(
            self.frame_index,
            self.captured_at,
            self.elapsed,
            self.text,
            ScaleBarSpec(bar.length, bar.unit) if bar else None,
            self.position,
            self.size,
        )


class FrameRange(RequestModel):
    """Source frames start (included) to stop (excluded), counted from 0; or from the first to the last one captured
    between `from` (included) and `to` (excluded). A time without an offset is the camera's own clock."""

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


class CropModel(RequestModel):
    """A part of the picture, in pixels of an upright source frame of the dataset's usual size."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_CROP]})
    x: int = Field(ge=0, le=65_535, description="left edge, counted from the left")
    y: int = Field(ge=0, le=65_535, description="upper edge, counted from the top")
    width: int = Field(ge=2, le=65_535, description="width of the part; it must lie inside the frame")
    height: int = Field(ge=2, le=65_535, description="height of the part; it must lie inside the frame")


class VideoGenerationRequest(RequestModel):
    """A render: which frames, how fast, how large, how good."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"experiment_id": EXAMPLE_EXPERIMENT_ID, "decimation_factor": 4, "fps": 30},
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

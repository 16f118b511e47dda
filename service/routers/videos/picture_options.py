"""The options of a render that decide what its pictures look like."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from service.plan.colour import Hdr
from service.plan.formats import BLACK, Codec, canonical_colour
from service.plan.geometry import CropSpec, DecimationMode
from service.plan.grid import MAX_PANELS, Align, GridSpec
from service.plan.overlay import Corner, OverlaySpec, ScaleBarSpec, Unit
from service.plan.render_plan import Deinterlace, FramePolicy, Gaps, MismatchPolicy
from service.plan.requests.request import RenderRequest
from service.plan.segments import FrameRangeSpec
from service.plan.timing import Timing
from service.plan.tone import Colormap, ToneMode, ToneSpec
from service.routers.http.fields import (
    EXAMPLE_DATASET_ID,
    MAX_INT64,
    Moment,
    RequestModel,
    StorableText,
    at_most,
)

OTHER_DATASET_ID = "0197a3c2-a1c0-7d2f-b3c4-15f2e8a9d7b3"
# A century.
MAX_SECONDS = 3_155_760_000
EXAMPLE_CROP: dict[str, JsonValue] = {"x": 320, "y": 180, "width": 1280, "height": 720}
PresetReference = Annotated[
    Annotated[str, StorableText] | None,
    Field(
        min_length=1,
        max_length=200,
        description="id or name of a preset: its options hold where the request does not set them, each as a whole "
        "(`tone` replaces the preset's `tone`, null removes it). A name means your own preset before one of others",
        examples=["daily overview"],
    ),
]
BackgroundColour = Annotated[str, AfterValidator(canonical_colour), Field(max_length=20)]


class ToneRequest(RequestModel):
    """Maps samples of more than 8 bits, or gray samples of 8 bits, to output levels, with one window for the sequence.

    `full`: the range of the data type (0 to 65535; floats 0 to 1). `minmax`: the smallest to the largest sample.
    `percentile`: between two percentiles, or over what they would cut off where nearly all samples have one value (the
    render's `options.tone.note` says so). `fixed`: between two sample values, for sequences that still grow or are
    compared. Minimum, maximum and percentiles come from up to 64 frames of the sequence. Samples outside the window are
    clipped; the receipt counts them for each frame.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"mode": "percentile", "low": 1, "high": 99.9, "colormap": "viridis"},
                {"mode": "fixed", "low": 400, "high": 12000, "gamma": 0.6},
            ]
        },
    )
    mode: ToneMode = Field("percentile", description="how the window is chosen")
    low: float | None = Field(
        None, allow_inf_nan=False, description="percentile (unset: 0.35) or, in mode fixed, sample value"
    )
    high: float | None = Field(
        None,
        allow_inf_nan=False,
        description="percentile (unset: 99.65) or, in mode fixed, sample value",
        examples=[99.65],
    )
    gamma: float = Field(
        1.0, ge=0.05, le=20, description="exponent applied within the window; below 1 brightens", examples=[0.7]
    )
    colormap: Colormap = Field("gray", description="colormap of gray frames", examples=["viridis"])
    inverse: bool = Field(False, description="invert: dark becomes bright")

    def to_spec(self) -> ToneSpec:
        return ToneSpec(self.mode, self.low, self.high, self.gamma, self.colormap, self.inverse)


EXAMPLE_OVERLAY: dict[str, JsonValue] = {
    "frame_index": True,
    "captured_at": True,
    "text": "Arabidopsis, 22 °C",
    "scale_bar": {"length": 100, "unit": "um"},
}


class ScaleBarModel(RequestModel):
    """A scale bar. The experiment's `metadata.pixel_size_um` has the size of a source pixel, as shown."""

    length: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="length of the bar, in `unit`; unset: a round length of about a fifth of the width",
        examples=[100],
    )
    unit: Unit | None = Field(
        None, description="unit of the length, written beside it; unset: um, or what suits a bar without a length"
    )


class OverlayModel(RequestModel):
    """Text over the image: light with a dark outline on a dimmed background, scaled with the output height."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_OVERLAY]})
    frame_index: bool = Field(
        False, description="position of the source frame in the dataset; of a bin, its first frame"
    )
    captured_at: bool = Field(False, description="capture time: UTC, or camera time if it has no offset")
    elapsed: bool = Field(
        False, description="capture time since the first frame; without capture times, time in the video"
    )
    text: Annotated[str, StorableText] = Field(
        "", max_length=200, description="free text, wrapped at the width", examples=["Well B7"]
    )
    scale_bar: ScaleBarModel | None = Field(None, description="scale bar")
    position: Corner = Field(
        "bottom_left", description="corner of the text; the scale bar is in the opposite corner of the same edge"
    )
    size: int | None = Field(None, ge=8, le=1000, description="line height in pixels; unset: 1/28 of the output height")

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
    """Source frames from `start` (inclusive, counted from 0) to `stop` (exclusive), or those captured between `from`
    (inclusive) and `to` (exclusive). A time without an offset is camera time."""

    start: int = Field(0, ge=0, le=MAX_INT64, description="first source frame", examples=[0])
    stop: int | None = Field(
        None, ge=1, le=MAX_INT64, description="end of the range, exclusive; unset: all frames", examples=[900]
    )
    since: Moment | None = Field(
        None,
        alias="from",
        description="capture time of the first frame, instead of `start`",
        examples=["2026-05-04T06:00:00Z"],
    )
    until: Moment | None = Field(
        None,
        alias="to",
        description="end of the capture times, exclusive, instead of `stop`",
        examples=["2026-05-04T18:00:00Z"],
    )


class CropModel(RequestModel):
    """A region of the image, in pixels of an upright source frame of the dataset's most common size."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_CROP]})
    x: int = Field(ge=0, le=65_535, description="left edge")
    y: int = Field(ge=0, le=65_535, description="top edge")
    width: int = Field(ge=2, le=65_535, description="width; the region must be inside the frame")
    height: int = Field(ge=2, le=65_535, description="height; the region must be inside the frame")


class GridModel(RequestModel):
    """Several datasets of the experiment in one picture, each in a panel, row by row. The first one leads: each of its
    frames makes a picture, and `frames`, `timing`, `overlay` and gaps are about it. Panels have the size of its frames,
    or share `width` and `height`; their sides are even."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset_ids": [EXAMPLE_DATASET_ID, OTHER_DATASET_ID], "columns": 2}]}
    )
    dataset_ids: Annotated[list[UUID], at_most(MAX_PANELS)] = Field(
        min_length=2, max_length=MAX_PANELS, description="the datasets, in the order of the panels"
    )
    columns: int | None = Field(
        None, ge=1, le=MAX_PANELS, description="panels in a row; unset: about as many as there are rows", examples=[2]
    )
    align: Align = Field(
        "index",
        description="which frames are shown together: those of the same position in their datasets or, with captured, "
        "of the nearest capture time",
        examples=["captured"],
    )
    within_seconds: float | None = Field(
        None,
        ge=0,
        le=MAX_SECONDS,
        allow_inf_nan=False,
        description="with align captured, a frame that is further away is missing; unset: however far",
        examples=[1.5],
    )
    labels: bool = Field(False, description="write the name of its dataset into each panel")

    def to_spec(self) -> GridSpec:
        return GridSpec(tuple(self.dataset_ids), self.columns, self.align, self.within_seconds, self.labels)


class PictureOptions(RequestModel):
    """The members of a render request that change its pictures."""

    decimation_factor: int = Field(
        1, ge=1, le=100_000, description="one output frame per N source frames", examples=[1, 4]
    )
    fps: float | None = Field(
        None,
        ge=0.1,
        le=240,
        description="output frames per second; required unless duration_seconds is set or timing is captured",
        examples=[30],
    )
    frames: FrameRange | None = Field(None, description="range of the sequence; unset: all frames")
    width: int | None = Field(None, ge=2, le=16384, description="output width in (square) pixels", examples=[1280])
    height: int | None = Field(None, ge=2, le=16384, description="output height in pixels")
    scale: float | None = Field(None, gt=0, le=8, description="output size relative to the source", examples=[0.5])
    codec: Codec = Field(
        "h264",
        description="h264 plays everywhere; av1 is faster and smaller; hevc is for Apple players; mjpeg copies JPEG "
        "frames unchanged and opens in Fiji; ffv1 is lossless, also for 16-bit gray",
    )
    missing: FramePolicy = Field("skip", description="what to do with missing frames")
    changed: FramePolicy = Field(
        "fail",
        description="what to do with frames that were replaced or written to since the scan; after another scan they "
        "are rendered as they are then",
    )
    corrupt: FramePolicy = Field("hold", description="what to do with frames that cannot be decoded")
    mismatch: MismatchPolicy = Field("pad", description="what to do with frames of a different size")
    tone: ToneRequest | None = Field(
        None, description="unset: mode percentile for frames of more than 8 bits, no change for others"
    )
    background: BackgroundColour = Field(
        BLACK, description="colour behind transparent pixels: #rrggbb or a name", examples=["white", "#202020"]
    )
    crop: CropModel | None = Field(None, description="region to render", examples=[EXAMPLE_CROP])
    rotate: Literal[0, 90, 180, 270] = Field(
        0,
        description="degrees clockwise, applied after the crop and before width, height and scale",
        examples=[90],
    )
    decimation_mode: DecimationMode = Field(
        "drop",
        description="of N neighbours, drop keeps the first and does not read the others, mean averages them, "
        "max keeps the maximum of each pixel",
        examples=["mean"],
    )
    duration_seconds: float | None = Field(
        None, gt=0, le=86_400, description="duration of the video, instead of fps", examples=[12.5]
    )
    timing: Timing = Field(
        "uniform",
        description="uniform shows every frame for 1/fps seconds; captured uses the intervals of the capture times, "
        "and fps is then only the nominal rate in the file",
        examples=["captured"],
    )
    speed: float | None = Field(
        None,
        gt=0,
        le=10_000_000,
        description="seconds of capture time per second of video, with timing captured; unset: 1",
    )
    overlay: OverlayModel | None = Field(None, description="text and scale bar over the image")
    hdr: Hdr | None = Field(
        None,
        description="what to do with HDR source videos (PQ or HLG): keep leaves samples and tags as they are, sdr "
        "tone-maps to BT.709; unset: keep, but sdr for mjpeg, which cannot be HDR, and for HDR beside SDR sources",
        examples=["sdr"],
    )
    deinterlace: Deinterlace = Field(
        "auto",
        description="for source videos: auto deinterlaces the pictures that the scan found interlaced, on deinterlaces "
        "all, off shows the fields as they are stored; ffv1 keeps the fields unless on is set",
        examples=["off"],
    )
    gaps: Gaps = Field(
        "numbers",
        description="what counts as missing: numbers, gaps in a regular numbering (names that are dates or times have "
        "none); interval, frames that the usual time between captures leaves out (see `cadence` of the dataset); none",
        examples=["interval"],
    )
    grid: GridModel | None = Field(None, description="several datasets side by side")

    def to_picture_request(self, experiment: UUID, dataset: UUID | None) -> RenderRequest:
        """The request for planning, as far as these options decide it."""
        frames, crop = self.frames, self.crop
        return RenderRequest(
            experiment_id=experiment,
            dataset_id=dataset,
            decimation_factor=self.decimation_factor,
            fps=self.fps,
            frames=FrameRangeSpec(frames.start, frames.stop, frames.since, frames.until) if frames else None,
            width=self.width,
            height=self.height,
            scale=self.scale,
            codec=self.codec,
            missing=self.missing,
            changed=self.changed,
            corrupt=self.corrupt,
            mismatch=self.mismatch,
            tone=self.tone.to_spec() if self.tone else None,
            background=self.background,
            crop=CropSpec(crop.x, crop.y, crop.width, crop.height) if crop else None,
            rotate=self.rotate,
            decimation_mode=self.decimation_mode,
            duration_seconds=self.duration_seconds,
            timing=self.timing,
            speed=self.speed,
            overlay=self.overlay.to_spec() if self.overlay else None,
            hdr=self.hdr,
            deinterlace=self.deinterlace,
            gaps=self.gaps,
            grid=self.grid.to_spec() if self.grid else None,
        )

"""The tone and overlay parts of a render request."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from service.plan.formats import canonical_colour
from service.plan.overlay import Corner, OverlaySpec, ScaleBarSpec, Unit
from service.plan.tone import Colormap, ToneMode, ToneSpec

BackgroundColour = Annotated[str, AfterValidator(canonical_colour), Field(max_length=20)]


class ToneRequest(BaseModel):
    """How samples deeper than 8 bits, or gray ones of 8 bits, become levels: one window for the whole sequence.

    `full`: what the samples can hold (0 to 65535; floats 0 to 1). `minmax`: the smallest to the largest sample.
    `percentile`: between two percentiles. `fixed`: between two sample values, the choice for sequences that still grow
    or are compared. Minimum, maximum and percentiles come from up to 64 frames over the sequence; what lies outside the
    window is cut off, and the receipt counts it for each frame.
    """

    model_config = ConfigDict(
        extra="forbid",
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


class ScaleBarModel(BaseModel):
    """A bar of this length in the scene; the experiment's `metadata.pixel_size_um` says how large a source pixel is."""

    model_config = ConfigDict(extra="forbid")
    length: float = Field(gt=0, le=1e9, description="length of the bar, in the unit", examples=[100])
    unit: Unit = Field("um", description="unit of the length; um is written µm")


class OverlayModel(BaseModel):
    """Text over the picture, light with a dark outline on a dim ground, sized by the output's height."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE_OVERLAY]})
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

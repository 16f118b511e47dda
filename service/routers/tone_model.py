"""Tone and background of a render request."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.plan.formats import canonical_colour
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

"""The overlay of a render request."""

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.plan.overlay import Corner, OverlaySpec, ScaleBarSpec, Unit

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

"""What a caller asks for when a render is planned."""

from dataclasses import dataclass
from uuid import UUID

from service.plan.colour import Hdr
from service.plan.formats import (
    BLACK,
    Codec,
    Container,
    Effort,
    Output,
)
from service.plan.geometry import (
    CropSpec,
    DecimationMode,
)
from service.plan.grid import GridSpec
from service.plan.overlay import OverlaySpec
from service.plan.placement import DevicePreference
from service.plan.render_plan import Deinterlace, FramePolicy, Gaps, MismatchPolicy
from service.plan.segments import FrameRangeSpec
from service.plan.timing import Timing
from service.plan.tone import ToneSpec


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What a caller asks for. Values are in the ranges of the HTTP body; `background` is #rrggbb."""

    experiment_id: UUID
    decimation_factor: int
    fps: float | None = None
    dataset_id: UUID | None = None
    frames: FrameRangeSpec | None = None
    width: int | None = None
    height: int | None = None
    scale: float | None = None
    codec: Codec = "h264"
    quality: int = 70
    effort: Effort = "balanced"
    missing: FramePolicy = "skip"
    changed: FramePolicy = "fail"
    corrupt: FramePolicy = "hold"
    mismatch: MismatchPolicy = "pad"
    device: DevicePreference = "auto"
    priority: int = 0
    tone: ToneSpec | None = None
    background: str = BLACK
    container: Container | None = None
    crop: CropSpec | None = None
    rotate: int = 0
    decimation_mode: DecimationMode = "drop"
    duration_seconds: float | None = None
    timing: Timing = "uniform"
    speed: float | None = None
    overlay: OverlaySpec | None = None
    outputs: tuple[Output, ...] = ()
    hdr: Hdr | None = None
    deinterlace: Deinterlace = "auto"
    gaps: Gaps = "numbers"
    grid: GridSpec | None = None

"""What a device was seen to do, as rows that workers write and the plan reads."""

from dataclasses import dataclass
from typing import Literal

Stage = Literal["decode", "transform", "encode"]
State = Literal["ok", "degraded", "quarantined", "absent", "unknown"]

CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that one device does, or does not: proven by a canary, never by a name.

    `device` is "cpu" or "cuda:0", "cuda:1", …; `what` is a codec ("jpeg", "png", "tiff", "h264", "hevc", "av1") or, of
    the transform, "nv12". `proven_at` is when its canary last ran (seconds since 1970), `rate` megapixels a second.
    """

    device: str
    stage: Stage
    what: str
    state: State
    reason: str = ""
    proven_at: float | None = None
    rate: float | None = None

    @property
    def usable(self) -> bool:
        """Slow is still usable; what was never proven is not."""
        return self.state in ("ok", "degraded")

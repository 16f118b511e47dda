"""What devices can do: rows that workers write, looked up by the planner, with default rates for what is not measured.

Rates are in megapixels a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Stage = Literal["decode", "transform", "encode"]
State = Literal["ok", "degraded", "quarantined", "absent", "unknown"]

CPU = "cpu"

# (kind of device, stage) -> operation -> rate; "" is everything else. CPU: one core, from the table in
# docs/rendering.md. CUDA: the order of what others publish for data-centre cards; not measured here.
DEFAULT_RATES: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("cpu", "decode"): {"jpeg": 390, "tiff": 250, "h264": 300, "hevc": 200, "av1": 200, "": 150},
    ("cpu", "transform"): {"": 600},
    ("cpu", "encode"): {"h264": 100, "hevc": 55, "av1": 185, "mjpeg": 500, "ffv1": 50, "": 50},
    ("cuda", "decode"): {"jpeg": 2500, "": 1500},
    ("cuda", "transform"): {"": 100_000},
    ("cuda", "encode"): {"": 1000},
}

# Bytes a second between pinned memory and the device: PCIe 4 x16, with others on it.
TRANSFER_BYTES = 12e9
# Bytes a second that one core copies out of pinned memory.
COPY_BYTES = 5e9
# Bytes of a deep sample that is uploaded.
UPLOADED_BYTES = 2
# The most pictures, and the most bytes of page-locked memory in each direction, that one batch on a device takes.
DEVICE_BATCH, PINNED_BYTES = 32, 64 * 2**20


@dataclass(frozen=True, slots=True)
class Capability:
    """One operation that one device can do, or cannot: shown by a self-test (canary), never assumed from a name.

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
        """A degraded device is still usable; an untested one is not."""
        return self.state in ("ok", "degraded")


class CapabilityIndex:
    """Capabilities by device, stage and operation; of several rows for the same operation a usable one counts."""

    def __init__(self, capabilities: Sequence[Capability]) -> None:
        ordered = sorted(capabilities, key=lambda one: (one.usable, one.rate or 0.0, one.reason))
        self._rows = {(one.device, one.stage, one.what): one for one in ordered}
        self.devices = sorted({one.device for one in capabilities} - {CPU})

    def usable(self, device: str, stage: Stage, what: str) -> bool:
        row = self._rows.get((device, stage, what))
        return row is not None and row.usable

    def reason_unusable(self, device: str, stage: Stage, what: str) -> str:
        row = self._rows.get((device, stage, what))
        return f"{device} {stage} {what}: {(row.reason or row.state) if row else 'unknown'}"

    def rate(self, device: str, stage: Stage, what: str) -> float:
        """The measured rate in megapixels a second, else the default."""
        row = self._rows.get((device, stage, what))
        defaults = DEFAULT_RATES[CPU if device == CPU else "cuda", stage]
        return (row.rate if row and row.rate else None) or defaults.get(what, defaults[""])

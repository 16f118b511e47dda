"""One measurement: a stage or a whole render, of one case, on one path."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

from benchmarks.devices.parity import Parity

Stage = Literal["copy", "decode", "transform", "decode + transform", "encode", "render"]


class Joules(NamedTuple):
    """Joules of the whole GPU and of all processor packages; None without a readable counter."""

    gpu: float | None
    cpu: float | None


UNKNOWN_ENERGY = Joules(None, None)


@dataclass(frozen=True, slots=True)
class Measurement:
    """`path` says where each stage ran ("cpu > cpu > cpu"); `rates` are frames per second, one per warm repetition.

    `cold_s` is the time of the first call, including imports and device initialisation, and `first_frames` its frames.
    `bytes_in`, `bytes_out` and `joules` are per frame. `absent_reason` says why nothing was measured.
    """

    stage: Stage
    case: str
    path: str
    workers: int = 1
    rates: tuple[float, ...] = ()
    cold_s: float = 0.0
    first_frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    joules: Joules = UNKNOWN_ENERGY
    parity: Parity | None = None
    absent_reason: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def fps(self) -> float:
        return median(self.rates) if self.rates else 0.0

    @property
    def gb_s(self) -> float:
        """Bytes into and out of the stage, in 10**9 per second."""
        return (self.bytes_in + self.bytes_out) * self.fps / 1e9

    @property
    def is_cpu_only(self) -> bool:
        return "gpu" not in self.path

    @property
    def is_valid(self) -> bool:
        """Whether it was measured and, on a GPU, its output matches the CPU's."""
        return not self.absent_reason and (self.is_cpu_only or bool(self.parity and self.parity.holds))


def speed_up(measurement: Measurement, measurements: Sequence[Measurement]) -> float | None:
    """Ratio to the CPU path of the same stage and case; None for the CPU itself and without parity."""
    rivals = [
        one
        for one in measurements
        if one.is_cpu_only and (one.stage, one.case) == (measurement.stage, measurement.case)
    ]
    if measurement.is_cpu_only or not measurement.is_valid or not rivals or not rivals[0].fps:
        return None
    return measurement.fps / rivals[0].fps


def copy_share(measurement: Measurement, measurements: Sequence[Measurement]) -> float | None:
    """Fraction of the copy bandwidth of its device; None if it uses both devices or no bandwidth was measured."""
    if measurement.absent_reason or measurement.stage == "copy":
        return None
    copies = [one for one in measurements if one.stage == "copy" and one.path == measurement.path]
    return measurement.gb_s / copies[0].gb_s if copies and not copies[0].absent_reason else None


def to_row(measurement: Measurement, measurements: Sequence[Measurement]) -> dict[str, Any]:
    ratio, share = speed_up(measurement, measurements), copy_share(measurement, measurements)
    parity, has_gate = measurement.parity, not measurement.is_cpu_only and not measurement.absent_reason
    return {
        "benchmark": "devices",
        "stage": measurement.stage,
        "case": measurement.case,
        "path": measurement.path,
        "absent": measurement.absent_reason,
        "workers": measurement.workers,
        "frames_per_second": [round(rate, 2) for rate in measurement.rates],
        "median_frames_per_second": round(measurement.fps, 2),
        "cold_s": round(measurement.cold_s, 4),
        "cold_frames": measurement.first_frames,
        "bytes_in": measurement.bytes_in,
        "bytes_out": measurement.bytes_out,
        "gb_per_second": round(measurement.gb_s, 3),
        "share_of_copy": None if share is None else round(share, 4),
        "joules_per_frame": measurement.joules._asdict(),
        "psnr_db": parity.psnr if parity else None,
        "least_db": parity.least if parity else None,
        "ssim": parity.ssim if parity else None,
        "gate": ("held" if measurement.is_valid else "failed") if has_gate else None,
        "speed_up": None if ratio is None else round(ratio, 3),
    } | measurement.notes

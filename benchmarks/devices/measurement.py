"""One measurement: a stage or a whole render, of one case, on one path."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

from benchmarks.devices.parity import Parity

Stage = Literal["copy", "decode", "transform", "decode + transform", "encode", "render"]


class Joules(NamedTuple):
    """Per frame, of the whole GPU and of the whole processor package; None where no counter can be read."""

    gpu: float | None
    cpu: float | None


UNKNOWN_ENERGY = Joules(None, None)


@dataclass(frozen=True, slots=True)
class Measurement:
    """`path` says where each stage ran ("cpu > cpu > cpu"); `rates` are frames per second, one per warm repetition.

    `cold_s` is the first call, with everything that is loaded and opened by it; `first_frames` is what it made.
    `bytes_in` and `bytes_out` are of a frame. With `absent` nothing was measured, and it says why.
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
    absent: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def fps(self) -> float:
        return median(self.rates) if self.rates else 0.0

    @property
    def gb_s(self) -> float:
        """Bytes in and out of the stage, in 10**9 a second."""
        return (self.bytes_in + self.bytes_out) * self.fps / 1e9

    @property
    def is_cpu_only(self) -> bool:
        return "gpu" not in self.path

    @property
    def is_valid(self) -> bool:
        """Measured, and of a GPU proven to show what the CPU shows."""
        return not self.absent and (self.is_cpu_only or bool(self.parity and self.parity.holds))


def speed_up(measurement: Measurement, measurements: Sequence[Measurement]) -> float | None:
    """Times the CPU path of the same stage and case; None for the CPU itself and where the gate does not hold."""
    rivals = [
        one
        for one in measurements
        if one.is_cpu_only and (one.stage, one.case) == (measurement.stage, measurement.case)
    ]
    if measurement.is_cpu_only or not measurement.is_valid or not rivals or not rivals[0].fps:
        return None
    return measurement.fps / rivals[0].fps


def copy_share(measurement: Measurement, measurements: Sequence[Measurement]) -> float | None:
    """Of the copy bandwidth of where it ran; None for what moves between the two, and without a measured bandwidth."""
    copies = [
        one.gb_s for one in measurements if one.stage == "copy" and one.path == measurement.path and not one.absent
    ]
    return measurement.gb_s / copies[0] if copies and not measurement.absent and measurement.stage != "copy" else None


def to_row(measurement: Measurement, measurements: Sequence[Measurement]) -> dict[str, Any]:
    gate, faster, share = measurement.parity, speed_up(measurement, measurements), copy_share(measurement, measurements)
    return {
        "benchmark": "devices",
        "stage": measurement.stage,
        "case": measurement.case,
        "path": measurement.path,
        "absent": measurement.absent,
        "workers": measurement.workers,
        "frames_per_second": [round(rate, 2) for rate in measurement.rates],
        "median_frames_per_second": round(measurement.fps, 2),
        "cold_s": round(measurement.cold_s, 4),
        "cold_frames": measurement.first_frames,
        "bytes_in": measurement.bytes_in,
        "bytes_out": measurement.bytes_out,
        "gb_per_second": round(measurement.gb_s, 3),
        "share_of_copy": None if share is None else round(share, 4),
        "joules_per_frame": {"gpu": measurement.joules.gpu, "cpu": measurement.joules.cpu},
        "psnr_db": gate.psnr if gate else None,
        "least_db": gate.least if gate else None,
        "ssim": gate.ssim if gate else None,
        "gate": None if measurement.is_cpu_only or measurement.absent else "held" if measurement.is_valid else "failed",
        "speed_up": None if faster is None else round(faster, 3),
    } | measurement.notes

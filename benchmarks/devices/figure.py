"""One measured thing: a stage or a whole render, of one case, on one path."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

from benchmarks.devices.gate import Parity

Stage = Literal["copy", "decode", "transform", "decode + transform", "encode", "render"]


class Joules(NamedTuple):
    """Per frame, of the whole GPU and of the whole processor package; None where no counter can be read."""

    gpu: float | None
    cpu: float | None


UNKNOWN = Joules(None, None)


@dataclass(frozen=True, slots=True)
class Figure:
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
    joules: Joules = UNKNOWN
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
    def by_cpu(self) -> bool:
        return "gpu" not in self.path

    @property
    def sound(self) -> bool:
        """Measured, and of a GPU proven to show what the CPU shows."""
        return not self.absent and (self.by_cpu or bool(self.parity and self.parity.holds))


def speed_up(figure: Figure, figures: Sequence[Figure]) -> float | None:
    """Times the CPU path of the same stage and case; None for the CPU itself and where the gate does not hold."""
    rivals = [one for one in figures if one.by_cpu and (one.stage, one.case) == (figure.stage, figure.case)]
    if figure.by_cpu or not figure.sound or not rivals or not rivals[0].fps:
        return None
    return figure.fps / rivals[0].fps


def copy_share(figure: Figure, figures: Sequence[Figure]) -> float | None:
    """Of the copy bandwidth of where it ran; None for what moves between the two, and without a measured bandwidth."""
    copies = [one.gb_s for one in figures if one.stage == "copy" and one.path == figure.path and not one.absent]
    return figure.gb_s / copies[0] if copies and not figure.absent and figure.stage != "copy" else None


def row(figure: Figure, figures: Sequence[Figure]) -> dict[str, Any]:
    gate, faster, share = figure.parity, speed_up(figure, figures), copy_share(figure, figures)
    return {
        "benchmark": "devices",
        "stage": figure.stage,
        "case": figure.case,
        "path": figure.path,
        "absent": figure.absent,
        "workers": figure.workers,
        "frames_per_second": [round(rate, 2) for rate in figure.rates],
        "median_frames_per_second": round(figure.fps, 2),
        "cold_s": round(figure.cold_s, 4),
        "cold_frames": figure.first_frames,
        "bytes_in": figure.bytes_in,
        "bytes_out": figure.bytes_out,
        "gb_per_second": round(figure.gb_s, 3),
        "share_of_copy": None if share is None else round(share, 4),
        "joules_per_frame": {"gpu": figure.joules.gpu, "cpu": figure.joules.cpu},
        "psnr_db": gate.psnr if gate else None,
        "least_db": gate.least if gate else None,
        "ssim": gate.ssim if gate else None,
        "gate": None if figure.by_cpu or figure.absent else "held" if figure.sound else "failed",
        "speed_up": None if faster is None else round(faster, 3),
    } | figure.notes

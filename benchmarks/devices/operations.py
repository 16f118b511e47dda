"""The transforms that are measured: each operation of kernels/, at the factors that have code of their own."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.devices.request import Case, Cases
from service.plan.tone import Tone

BIN_FRAMES = 4
CAMERA_TONE = Tone(300, 3300, 0.8, "viridis")
"""Of a 12-bit camera's samples."""
Kernel = Literal["rgb_to_nv12", "nv12_scale", "tone", "mean", "max"]


@dataclass(frozen=True, slots=True)
class Operation:
    """Mean and max are of bins of four R'G'B' frames; rates and bytes count source frames."""

    kernel: Kernel
    case: Case

    @property
    def name(self) -> str:
        return f"{self.kernel}, {self.case.name}"

    @property
    def bin(self) -> int:
        return BIN_FRAMES if self.kernel in ("mean", "max") else 1


def all_operations(cases: Cases) -> tuple[Operation, ...]:
    whole, half, quarter, uneven = cases.whole, cases.half, cases.quarter, cases.uneven
    return (
        *(Operation("rgb_to_nv12", case) for case in (whole, half, quarter, uneven)),
        *(Operation("nv12_scale", case) for case in (half, quarter)),
        *(Operation("tone", case) for case in (whole, half)),
        Operation("mean", half),
        Operation("max", half),
    )


def cpu_bytes_per_frame(operation: Operation) -> tuple[int, int]:
    """In and out of the CPU's transform, per frame: 4:2:0, or 16-bit gray."""
    wide, high = operation.case.source
    out = operation.case.canvas[0] * operation.case.canvas[1] * 3 // 2
    return wide * high * 2 if operation.kernel == "tone" else wide * high * 3 // 2, out // operation.bin

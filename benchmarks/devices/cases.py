"""What is measured: sizes, cases and the operations of kernels/."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from service.pipeline.cuda.slot_device import DeviceConfig
from service.plan.render_plan import CPU_ONLY, Backend, RenderOptions
from service.plan.tone import Tone

QUALITY = 70
# At which an encoder hides least of what went into it: for the gate.
PARITY_QUALITY = 100
Size = tuple[int, int]
DEFAULT_DEVICE = DeviceConfig("cuda:0")


@dataclass(frozen=True, slots=True)
class Request:
    """`seconds` bounds the whole; a repetition of a stage lasts about `each` seconds. Sizes are (width, height)."""

    results: Path
    seconds: float = 420
    repetitions: int = 5
    each: float = 0.4
    workers: int = 0
    frames: int = 60
    base: Size = (1920, 1080)
    device: DeviceConfig = DEFAULT_DEVICE
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Camera JPEGs of `source` size shown at `size`; (width, height)."""

    source: Size
    size: Size

    @property
    def name(self) -> str:
        return f"{'x'.join(map(str, self.source))} to {'x'.join(map(str, self.size))}"

    @property
    def canvas(self) -> Size:
        """Of the encoder: odd sides gain a replicated edge."""
        return self.size[0] + self.size[0] % 2, self.size[1] + self.size[1] % 2

    def options(self, family: Backend = CPU_ONLY, quality: int = QUALITY) -> RenderOptions:
        width, height = self.canvas
        return RenderOptions("h264", quality, Fraction(30), width, height, family=family)


@dataclass(frozen=True, slots=True)
class Cases:
    """With a base of 1080p: as it is, halved, 4K to a quarter of its sides, an uneven factor, and small odd JPEGs."""

    base: Size

    @property
    def whole(self) -> Case:
        return Case(self.base, self.base)

    @property
    def half(self) -> Case:
        return Case(self.base, (self.base[0] // 2, self.base[1] // 2))

    @property
    def quarter(self) -> Case:
        return Case((self.base[0] * 2, self.base[1] * 2), self.half.size)

    @property
    def uneven(self) -> Case:
        wide, high = (side * 9 // 14 // 2 * 2 for side in self.base)
        return Case(self.base, (wide, high))

    @property
    def small(self) -> Case:
        """The size that others publish rates of nvJPEG for."""
        return Case((551, 676), (551, 676))

    def all(self) -> tuple[Case, ...]:
        return self.whole, self.half, self.quarter, self.uneven, self.small


BIN_FRAMES = 4
# Of a 12-bit camera's samples.
CAMERA_TONE = Tone(300, 3300, 0.8, "viridis")
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

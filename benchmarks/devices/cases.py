"""The cases to measure: frame sizes, and the operations of kernels/."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from service.pipeline.cuda.slot_device import DeviceConfig
from service.plan.render_plan import CPU_ONLY, Backend, RenderOptions
from service.plan.tone import Tone

QUALITY = 70
# For parity checks: the encoder loses as little as possible.
PARITY_QUALITY = 100
# Frames of a case that a parity check compares.
PARITY_FRAMES = 8
Size = tuple[int, int]
DEFAULT_DEVICE = DeviceConfig("cuda:0")


@dataclass(frozen=True, slots=True)
class Request:
    """Options of the command. `seconds` limits the whole run, `each` is the time per repetition."""

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
    """Camera JPEGs of `source` pixels rendered at `size` pixels; both are (width, height)."""

    source: Size
    size: Size

    @property
    def name(self) -> str:
        return f"{'x'.join(map(str, self.source))} to {'x'.join(map(str, self.size))}"

    @property
    def canvas(self) -> Size:
        """The encoder's (width, height): odd sides are extended by a replicated edge."""
        return self.size[0] + self.size[0] % 2, self.size[1] + self.size[1] % 2

    def options(self, family: Backend = CPU_ONLY, quality: int = QUALITY) -> RenderOptions:
        width, height = self.canvas
        return RenderOptions("h264", quality, Fraction(30), width, height, family=family)


@dataclass(frozen=True, slots=True)
class Cases:
    """With a base of 1080p: unscaled, halved, 4K scaled to a quarter, an uneven factor, and small JPEGs of odd size."""

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
        width, height = (side * 9 // 14 // 2 * 2 for side in self.base)
        return Case(self.base, (width, height))

    @property
    def small(self) -> Case:
        """The size for which nvJPEG rates are published."""
        return Case((551, 676), (551, 676))

    def all(self) -> tuple[Case, ...]:
        return self.whole, self.half, self.quarter, self.uneven, self.small


BIN_FRAMES = 4
# For samples of a 12-bit camera.
CAMERA_TONE = Tone(300, 3300, 0.8, "viridis")
Kernel = Literal["rgb_to_nv12", "nv12_scale", "tone", "mean", "max"]


@dataclass(frozen=True, slots=True)
class Operation:
    """A kernel on a case. Mean and max combine four R'G'B' frames; rates and bytes count source frames."""

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
    """Bytes per frame into and out of the CPU transform: 4:2:0, or 16-bit gray."""
    width, height = operation.case.source
    bytes_in = width * height * 2 if operation.kernel == "tone" else width * height * 3 // 2
    return bytes_in, operation.case.canvas[0] * operation.case.canvas[1] * 3 // 2 // operation.bin

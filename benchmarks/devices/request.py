"""What is to be measured, and the pictures that it is measured on."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from service.pipeline.cuda.slot_device import DeviceConfig
from service.plan.render_plan import CPU_ONLY, Backend, RenderOptions

QUALITY = 70
PARITY_QUALITY = 100
"""At which an encoder hides least of what went into it: for the gate."""
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

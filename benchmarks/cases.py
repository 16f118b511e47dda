"""The benchmark cases: one Reelmill request each, its rivals and target ratios."""

import math
from dataclasses import dataclass
from typing import Literal

from benchmarks.scenes import Kind
from service.plan.formats import Codec, Effort

Contender = Literal["reelmill", "ffmpeg", "old way", "script"]
Source = Literal["jpeg", "tiff"]
Input = tuple[Source, Kind]


@dataclass(frozen=True, slots=True)
class Case:
    """`targets`: minimum ratio of rival seconds / Reelmill seconds, by rival.

    `strict`: Reelmill must reach ffmpeg's SSIM; otherwise it may lose what its shorter GOPs cost. `most_bytes` is how
    many times ffmpeg's bytes it may need.
    """

    name: str
    codec: Codec
    scale: float
    targets: dict[Contender, float]
    strict: bool = False
    most_bytes: float = 1.1
    source: Source = "jpeg"
    quality: int = 70
    effort: Effort = "balanced"
    footage: Kind = "street"

    @property
    def input(self) -> "Input":
        """What all contenders read; cases with the same input are measured in turn."""
        return self.source, self.footage

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """All contenders, in the order they run."""
        return ("reelmill", *self.targets)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the output for a source of this size."""
        return round(width * self.scale), round(height * self.scale)


# Where av1 and fast h264 reach ffmpeg's SSIM on the footage: the scale holds over a corpus, not on each kind.
AV1_QUALITIES: dict[Kind, int] = {"street": 72, "night": 70, "microscope": 77, "screen": 74}
FAST_QUALITIES: dict[Kind, int] = {"street": 72, "night": 70, "microscope": 61, "screen": 63}


def _name(prefix: str, kind: Kind) -> str:
    return prefix if kind == "street" else f"{prefix} {kind}"


# ffmpeg encodes x264 veryfast crf 23; the old way and the script encode MPEG-4, OpenCV's default. The deep cases are
# 16-bit TIFFs under one percentile window. Off the street, and with fast, bytes are reported and not compared.
CASES = (
    Case("h264", "h264", 1, {"ffmpeg": 1.15, "old way": 2}),
    Case("half", "h264", 0.5, {"ffmpeg": 1.3, "old way": 2}),
    *(
        Case(
            _name("av1", kind),
            "av1",
            1,
            {"ffmpeg": 2, "old way": 2},
            strict=True,
            most_bytes=1 if kind == "street" else math.inf,
            quality=quality,
            footage=kind,
        )
        for kind, quality in AV1_QUALITIES.items()
    ),
    *(
        Case(
            _name("fast", kind),
            "h264",
            1,
            {"ffmpeg": 1.8, "old way": 2},
            strict=True,
            most_bytes=math.inf,
            quality=quality,
            effort="fast",
            footage=kind,
        )
        for kind, quality in FAST_QUALITIES.items()
    ),
    Case("deep", "h264", 1, {"script": 3}, source="tiff"),
    Case("deep av1", "av1", 1, {"script": 3}, source="tiff"),
)

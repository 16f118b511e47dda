"""The benchmark cases: one Reelmill request each, its rivals and target ratios."""

from dataclasses import dataclass
from typing import Literal

from service.plan.formats import Codec

Contender = Literal["reelmill", "ffmpeg", "old way", "script"]
Source = Literal["jpeg", "tiff"]


@dataclass(frozen=True, slots=True)
class Case:
    """`targets`: minimum ratio of rival seconds / Reelmill seconds, by rival.

    `strict`: Reelmill must reach ffmpeg's SSIM in no more bytes; otherwise it may lose what its shorter GOPs cost.
    """

    name: str
    codec: Codec
    scale: float
    targets: dict[Contender, float]
    strict: bool = False
    source: Source = "jpeg"
    quality: int = 70

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """All contenders, in the order they run."""
        return ("reelmill", *self.targets)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the output for a source of this size."""
        return round(width * self.scale), round(height * self.scale)


# ffmpeg encodes x264 veryfast crf 23; the old way and the script encode MPEG-4, OpenCV's default. The deep cases are
# 16-bit TIFFs under one percentile window. On this footage av1 reaches ffmpeg's SSIM at quality 72.
CASES = (
    Case("h264", "h264", 1, {"ffmpeg": 1.15, "old way": 2}),
    Case("half", "h264", 0.5, {"ffmpeg": 1.3, "old way": 2}),
    Case("av1", "av1", 1, {"ffmpeg": 2, "old way": 2}, strict=True, quality=72),
    Case("deep", "h264", 1, {"script": 3}, source="tiff"),
    Case("deep av1", "av1", 1, {"script": 3}, source="tiff"),
)

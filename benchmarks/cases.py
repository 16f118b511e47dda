"""The benchmark cases: one Reelmill request each, the rivals and the target ratios."""

from dataclasses import dataclass
from typing import Literal

from service.plan.formats import Codec

Contender = Literal["reelmill", "ffmpeg", "old way", "script"]
Source = Literal["jpeg", "tiff"]


@dataclass(frozen=True, slots=True)
class Case:
    """`targets` are the least wanted ratios rival seconds : Reelmill seconds, by rival.

    `strict`: Reelmill must reach ffmpeg's SSIM in fewer bytes; else it may differ by what shorter GOPs cost.
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
        """In the order they run."""
        return ("reelmill", *self.targets)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Pixels of the output for a source of this size."""
        return round(width * self.scale), round(height * self.scale)


# ffmpeg always encodes x264 veryfast crf 23, the old way and the script MPEG-4 as OpenCV does by default. The deep
# cases are 16-bit TIFFs under one percentile window. Quality 72 is where av1 reaches ffmpeg's SSIM on this footage: 70
# is x264's over a mixed corpus.
CASES = (
    Case("h264", "h264", 1, {"ffmpeg": 1.15, "old way": 2}),
    Case("half", "h264", 0.5, {"ffmpeg": 1.3, "old way": 2}),
    Case("av1", "av1", 1, {"ffmpeg": 2, "old way": 2}, strict=True, quality=72),
    Case("deep", "h264", 1, {"script": 3}, source="tiff"),
    Case("deep av1", "av1", 1, {"script": 3}, source="tiff"),
)

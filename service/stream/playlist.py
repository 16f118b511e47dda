"""An HLS media playlist (RFC 8216) of the segments that are done: EVENT while it grows, ended when all is there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

MEDIA_TYPE = "application/vnd.apple.mpegurl"
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """One segment of a render: `planned` output frames; `frames` that it really has, None while it is not done."""

    number: int
    planned: int
    frames: int | None
    content_key: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A finished segment with pictures, and the output frame that it begins with."""

    part: Part
    first: int

    @property
    def end(self) -> int:
        return self.first + (self.part.frames or 0)


def finished(parts: Iterable[Part]) -> list[Placed]:
    """The unbroken run of finished segments from the beginning, empty ones (all frames skipped) left out."""
    first, placed = 0, []
    for part in parts:
        if part.frames is None:
            break
        if part.frames:
            placed.append(Placed(part, first))
            first += part.frames
    return placed


def target_duration(parts: Iterable[Part], fps: Fraction) -> int:
    """The longest segment of the whole plan, in seconds, rounded half up (RFC 8216, 4.3.3.1): it never changes."""
    return max([1, *(floor(part.planned / fps + Fraction(1, 2)) for part in parts)])


def playlist(parts: Sequence[Part], fps: Fraction, *, ended: bool) -> str:
    """The text of the playlist; its addresses are relative to its own."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target_duration(parts, fps)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES",
    ]
    placed = finished(parts)
    if placed:
        lines.append('#EXT-X-MAP:URI="stream/init.mp4"')
    for segment in placed:
        lines += [f"#EXTINF:{_seconds(segment, fps)},", f"stream/{segment.part.number}.m4s"]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _seconds(segment: Placed, fps: Fraction) -> str:
    """Its duration in microseconds, as the difference of rounded ends: what is rounded away never adds up."""
    micros = round(segment.end / fps * _MICRO) - round(segment.first / fps * _MICRO)
    return f"{micros // _MICRO}.{micros % _MICRO:06d}"

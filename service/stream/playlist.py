"""HLS media playlist (RFC 8216) of the finished segments: EVENT while the render runs, ended when it is complete."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

MEDIA_TYPE = "application/vnd.apple.mpegurl"
# What players take in fragments.
STREAMABLE_CODECS = ("h264", "hevc", "av1")
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class StreamSegment:
    """One segment: seconds that it is `planned` to last, and that it really `lasts` (None while it is not done)."""

    number: int
    planned_duration: Fraction
    duration: Fraction | None
    content_key: str = ""


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A finished segment with pictures, and where it begins on the time line, in seconds."""

    part: StreamSegment
    start: Fraction

    @property
    def end(self) -> Fraction:
        return self.start + (self.part.duration or 0)


def playable_segments(segments: Iterable[StreamSegment]) -> list[TimedSegment]:
    """The unbroken run of finished segments from the beginning, empty ones (all frames skipped) left out."""
    start, placed = Fraction(0), []
    for part in segments:
        if part.duration is None:
            break
        if part.duration:
            placed.append(TimedSegment(part, start))
            start += part.duration
    return placed


def target_duration(segments: Iterable[StreamSegment]) -> int:
    """The longest segment of the whole plan, in seconds, rounded half up (RFC 8216, 4.3.3.1): it never changes."""
    return max([1, *(floor(part.planned_duration + Fraction(1, 2)) for part in segments)])


def media_playlist(segments: Sequence[StreamSegment], *, ended: bool) -> str:
    """The text of the playlist; its addresses are relative to its own."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target_duration(segments)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES",
    ]
    placed = playable_segments(segments)
    if placed:
        lines.append('#EXT-X-MAP:URI="stream/init.mp4"')
    for segment in placed:
        lines += [f"#EXTINF:{_format_duration(segment)},", f"stream/{segment.part.number}.m4s"]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _format_duration(segment: TimedSegment) -> str:
    """Its duration in microseconds, as the difference of rounded ends: what is rounded away never adds up."""
    micros = round(segment.end * _MICROSECONDS) - round(segment.start * _MICROSECONDS)
    return f"{micros // _MICROSECONDS}.{micros % _MICROSECONDS:06d}"

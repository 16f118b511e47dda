"""HLS media playlist (RFC 8216) of the finished segments: EVENT while the render runs, ended when it is complete."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

MEDIA_TYPE = "application/vnd.apple.mpegurl"
# Codecs that players accept in fragmented MP4.
STREAMABLE_CODECS = ("h264", "hevc", "av1")
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class StreamSegment:
    """A segment of a render. Durations are in seconds; `duration` is None while the segment is not finished.

    `sha256` is that of its bytes, if known.
    """

    number: int
    planned_duration: Fraction
    duration: Fraction | None
    content_key: str = ""
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A finished segment with frames, and its start on the timeline in seconds."""

    part: StreamSegment
    start: Fraction

    @property
    def end(self) -> Fraction:
        return self.start + (self.part.duration or 0)


def playable_segments(segments: Iterable[StreamSegment]) -> list[TimedSegment]:
    """The finished segments before the first unfinished one, without empty ones (all frames skipped)."""
    start, playable = Fraction(0), []
    for part in segments:
        if part.duration is None:
            break
        if part.duration:
            playable.append(TimedSegment(part, start))
            start += part.duration
    return playable


def target_duration(segments: Iterable[StreamSegment]) -> int:
    """The longest planned duration in seconds, rounded half up (RFC 8216, 4.3.3.1). It must never change."""
    return max([1, *(floor(part.planned_duration + Fraction(1, 2)) for part in segments)])


def media_playlist(segments: Sequence[StreamSegment], *, ended: bool) -> str:
    """The text of the playlist. Its URLs are relative to that of the playlist."""
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target_duration(segments)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES",
    ]
    playable = playable_segments(segments)
    if playable:
        lines.append('#EXT-X-MAP:URI="stream/init.mp4"')
    for segment in playable:
        lines += [f"#EXTINF:{_format_duration(segment)},", f"stream/{segment.part.number}.m4s"]
    if ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _format_duration(segment: TimedSegment) -> str:
    """Seconds with six decimals: the difference of rounded ends, so that rounding errors do not add up."""
    micros = round(segment.end * _MICROSECONDS) - round(segment.start * _MICROSECONDS)
    return f"{micros // _MICROSECONDS}.{micros % _MICROSECONDS:06d}"

"""Muxer options: exact timescales, colour tags, and bit-exact output."""

from fractions import Fraction
from typing import Any

from service.plan.formats import Container

MUXERS: dict[Container, str] = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "avi": "avi"}
# delay_moov, not empty_moov: only then does the edit list start the first frame at 0.
_SEGMENT_FLAGS = "+frag_keyframe+default_base_moof+delay_moov+write_colr"

# Stream options that keep FFmpeg from decoding a frame when a file is opened (11 ms for H.264 at 1080p). PyAV's stub
# has another type.
SKIP_DECODE: Any = [{"skip_frame": "all"}]


def timescale(ticks_per_second: Fraction) -> int:
    """Units per second of which a tick is a whole number: the rate's numerator, doubled until it is at least 10,000."""
    ticks = ticks_per_second.numerator
    while ticks < 10_000:
        ticks *= 2
    return ticks


def segment_mux_options(ticks_per_second: Fraction) -> dict[str, str]:
    """Fragmented MP4, written to a stream; every segment of a render has the same moov box."""
    return _mp4_options(ticks_per_second, _SEGMENT_FLAGS)


def file_mux_options(container: Container, ticks_per_second: Fraction) -> dict[str, str]:
    """The assembled file, written to a seekable path; the index comes first if the format allows it."""
    if container in ("mp4", "mov"):
        return _mp4_options(ticks_per_second, "+faststart+write_colr")
    if container == "mkv":
        return {"fflags": "+bitexact", "cues_to_front": "1"}
    return {"fflags": "+bitexact"}


def _mp4_options(ticks_per_second: Fraction, flags: str) -> dict[str, str]:
    ticks = str(timescale(ticks_per_second))
    # With the default movie timescale of 1000 the edit list would round the last frame away.
    return {"movflags": flags, "fflags": "+bitexact", "video_track_timescale": ticks, "movie_timescale": ticks}

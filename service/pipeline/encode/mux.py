"""Muxer options: exact timescales, colour tags, and bit-exact output."""

from fractions import Fraction
from typing import Any

from service.plan.formats import Container

MUXERS: dict[Container, str] = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "avi": "avi"}
# delay_moov, not empty_moov: only then does the edit list say that the first picture is shown at 0.
_SEGMENT_FLAGS = "+frag_keyframe+default_base_moof+delay_moov+write_colr"

# Options of the streams of a file that is opened for its packets, or whose pictures are decoded later on: else FFmpeg
# decodes one of H.264 to know the stream, 11 ms at 1080p. (PyAV's stub has another type.)
SKIP_DECODE: Any = [{"skip_frame": "all"}]


def timescale(ticks_per_second: Fraction) -> int:
    """Units per second in which one tick of the render is whole: the rate's numerator, doubled up to 10,000."""
    ticks = ticks_per_second.numerator
    while ticks < 10_000:
        ticks *= 2
    return ticks


def segment_mux_options(ticks_per_second: Fraction) -> dict[str, str]:
    """Fragmented MP4, for every codec: writes to a stream; the moov is the same in every segment of a render."""
    return _mp4_options(ticks_per_second, _SEGMENT_FLAGS)


def file_mux_options(container: Container, ticks_per_second: Fraction) -> dict[str, str]:
    """The assembled file: needs a seekable path; what a player reads first comes first where the format allows it."""
    if container in ("mp4", "mov"):
        return _mp4_options(ticks_per_second, "+faststart+write_colr")
    if container == "mkv":
        return {"fflags": "+bitexact", "cues_to_front": "1"}
    return {"fflags": "+bitexact"}


def _mp4_options(ticks_per_second: Fraction, flags: str) -> dict[str, str]:
    ticks = str(timescale(ticks_per_second))
    # The movie's own timescale is 1000 by default: the edit list would round the last frame away.
    return {"movflags": flags, "fflags": "+bitexact", "video_track_timescale": ticks, "movie_timescale": ticks}

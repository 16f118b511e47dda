"""Options of the file formats: exact timescales, colour tags, nothing that differs from run to run."""

from fractions import Fraction

from service.plan.containers import Container

MUXERS: dict[Container, str] = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "avi": "avi"}
_SEGMENT = "+frag_keyframe+default_base_moof+delay_moov+write_colr"
"""delay_moov, not empty_moov: only then does the edit list say that the first picture is shown at 0."""


def timescale(fps: Fraction) -> int:
    """Ticks per second in which one frame is a whole number of ticks: the rate's numerator, doubled up to 10,000."""
    ticks = fps.numerator
    while ticks < 10_000:
        ticks *= 2
    return ticks


def segment_options(fps: Fraction) -> dict[str, str]:
    """Fragmented MP4, for every codec: writes to a stream; the moov is the same in every segment of a render."""
    return _mp4(fps, _SEGMENT)


def file_options(container: Container, fps: Fraction) -> dict[str, str]:
    """The assembled file: needs a seekable path; what a player reads first comes first where the format allows it."""
    if container in ("mp4", "mov"):
        return _mp4(fps, "+faststart+write_colr")
    if container == "mkv":
        return {"fflags": "+bitexact", "cues_to_front": "1"}
    return {"fflags": "+bitexact"}


def _mp4(fps: Fraction, flags: str) -> dict[str, str]:
    ticks = str(timescale(fps))
    # The movie's own timescale is 1000 by default: the edit list would round the last frame away.
    return {"movflags": flags, "fflags": "+bitexact", "video_track_timescale": ticks, "movie_timescale": ticks}

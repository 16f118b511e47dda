"""MP4 options shared by segments and the assembled file: exact timescales, colour tags, the same bytes every time."""

from fractions import Fraction

_SEGMENT = "+frag_keyframe+default_base_moof+delay_moov+write_colr"
"""delay_moov, not empty_moov: only then does the edit list say that the first picture is shown at 0."""


def timescale(rate: Fraction) -> int:
    """Units per second in which one tick of the render is whole: the rate's numerator, doubled up to 10,000."""
    ticks = rate.numerator
    while ticks < 10_000:
        ticks *= 2
    return ticks


def segment_options(rate: Fraction) -> dict[str, str]:
    """Fragmented MP4: writes to a stream; the moov is the same in every segment of a render."""
    return _options(rate, _SEGMENT)


def file_options(rate: Fraction) -> dict[str, str]:
    """Faststart MP4: needs a seekable path."""
    return _options(rate, "+faststart+write_colr")


def _options(rate: Fraction, flags: str) -> dict[str, str]:
    ticks = str(timescale(rate))
    # The movie's own timescale is 1000 by default: the edit list would round the last frame away.
    return {"movflags": flags, "fflags": "+bitexact", "video_track_timescale": ticks, "movie_timescale": ticks}

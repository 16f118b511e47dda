"""When pictures are shown: at a steady rate, or spaced as they were captured; and the elapsed time that is drawn."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from service.errors import invalid_field
from service.plan.render_plan import TICKS, CapturedTiming, ClockAnomaly, FrameRef, RenderOptions

Timing = Literal["uniform", "captured"]

# The rate that a file paced by capture times names where it must name one.
NOMINAL_RATE = Fraction(30)

# Pictures per second of a video.
MIN_RATE, MAX_RATE = Fraction(1, 10), 240

MICROSECONDS = 1_000_000

# A step ahead by more than a day and by more than this many usual steps means that the clock was set, not a pause.
CLOCK_JUMP, CLOCK_JUMP_STEPS = 24 * 3600 * MICROSECONDS, 1000

MAX_DURATION_TICKS = 24 * 3600 * TICKS

# Frames that may wait for the next capture time to be known; more are shown at the usual pace.
MAX_WAITING = 10_000


def exact_rate(fps: float) -> Fraction:
    """fps as an exact fraction: 29.97 and 23.976 become the NTSC rates."""
    for nominal in (24, 30, 48, 60, 120):
        ntsc = Fraction(nominal * 1000, 1001)
        if abs(fps - float(ntsc)) < 0.002:
            return ntsc
    return Fraction(fps).limit_denominator(1000)


def rate_lasting(frames: int, seconds: float) -> Fraction:
    """Frames per second at which this many frames last that long, to within a millionth.

    Raises InvalidRequest, pointing at `#/duration_seconds`, when no video can have that rate.
    """
    rate = (frames / Fraction(seconds)).limit_denominator(10_000)
    if not MIN_RATE <= rate <= MAX_RATE:
        shown = f"{frames / seconds:.4g}"  # "inf" if no float is as large
        detail = f"{frames} frames in {seconds:g} s are {shown} a second; between 0.1 and {MAX_RATE} can be shown"
        raise invalid_field("#/duration_seconds", detail, "impossible_rate")
    return rate


def nominal_rate(fps: float | None, duration_seconds: float | None, timing: Timing) -> Fraction:
    """Pictures a second as requested; NOMINAL_RATE when the duration or the capture times decide.

    Raises InvalidRequest, pointing at `#/fps` or `#/duration_seconds`, unless exactly one of them is given.
    """
    if fps is not None and duration_seconds is not None:
        raise invalid_field("#/duration_seconds", "give either fps or duration_seconds, not both", "exclusive")
    if fps is None and duration_seconds is None and timing == "uniform":
        raise invalid_field("#/fps", "give fps, or duration_seconds instead of it", "missing")
    return NOMINAL_RATE if fps is None else exact_rate(fps)


async def retime(
    frames: AsyncIterator[FrameRef], timing: CapturedTiming, options: RenderOptions
) -> AsyncIterator[FrameRef]:
    """The frames with `shown_for` (ticks, at least 1) and `clock` (an anomaly of their capture time).

    What a frame gets depends only on the frames up to the next later one, so a sequence that grows changes only at its
    end. Raises InvalidRequest, pointing at `#/speed`, when the video would last over a day or show over 240 pictures a
    second.
    """
    timer, count = CaptureTimer(timing.speed, options.fps), 0
    async for frame in frames:
        for timed in timer.add(frame):
            yield timed
        count += 1
        if timer.now > MAX_DURATION_TICKS:
            raise invalid_field("#/speed", "the video would last over 24 hours: give a higher speed", "too_long")
    for timed in timer.flush(None):
        yield timed
    size = options.bins.size if options.bins else 1
    if count > size and -(-count // size) * TICKS > MAX_RATE * timer.now:
        rate = round(-(-count // size) * TICKS / timer.now)
        detail = (
            f"{rate} pictures a second would be shown, at most {MAX_RATE} can: lower speed, raise decimation_factor"
        )
        raise invalid_field("#/speed", detail, "too_fast")


class CaptureTimer:
    """Holds the frames of one capture time until the next one is known, then gives each its share of the time between.

    `now` is the end of the frames that were returned, in ticks; capture times are in microseconds.
    """

    def __init__(self, speed: Fraction, fps: Fraction) -> None:
        self._ticks = Fraction(TICKS, MICROSECONDS) / speed
        self._usual, self._usual_is_known = MICROSECONDS * speed / fps, False
        self._waiting: list[FrameRef] = []
        self._captured: int | None = None
        self._elapsed = Fraction(0)
        self.now = 0

    def add(self, frame: FrameRef) -> Iterator[FrameRef]:
        """Take a frame; returns those whose time is known now."""
        if frame.captured is None or (self._waiting and frame.captured == self._captured):
            self._waiting.append(replace(frame, clock="unknown" if frame.captured is None else "same"))
            if len(self._waiting) >= MAX_WAITING:
                yield from self._release(self._usual * len(self._waiting))
            return
        anomaly: ClockAnomaly | None = None
        if self._captured is not None:
            anomaly = self._anomaly(frame.captured - self._captured)
        yield from self.flush(None if anomaly else frame.captured)
        self._captured = frame.captured
        self._waiting.append(replace(frame, clock=anomaly))

    def flush(self, until: int | None) -> Iterator[FrameRef]:
        """Return the frames that wait: shown up to this capture time or, with None, each for the usual time."""
        if until is None or self._captured is None or not self._waiting:
            yield from self._release(self._usual * len(self._waiting))
            return
        span = Fraction(until - self._captured)
        self._usual, self._usual_is_known = span / len(self._waiting), True
        yield from self._release(span)

    def _anomaly(self, step: int) -> ClockAnomaly | None:
        if step < 0:
            return "back"
        usual = self._usual * max(len(self._waiting), 1)
        return "jump" if self._usual_is_known and step > CLOCK_JUMP and step > CLOCK_JUMP_STEPS * usual else None

    def _release(self, span: Fraction) -> Iterator[FrameRef]:
        count = len(self._waiting)
        for number, frame in enumerate(self._waiting, 1):
            end = max(self.now + 1, round((self._elapsed + span * number / count) * self._ticks))
            yield replace(frame, shown_for=end - self.now)
            self.now = end
        self._elapsed += span
        self._waiting = []


async def with_elapsed_time(
    frames: AsyncIterator[FrameRef], options: RenderOptions, timed: bool, first: int | None = None, place: int = 0
) -> AsyncIterator[FrameRef]:
    """The frames with `elapsed`: capture time since the first that has one or, without `timed`, time in the video.

    For a part of a render, `place` is how many frames are before it, `first` the capture time that is counted from.
    """
    size = options.bins.size if options.bins else 1
    async for frame in frames:
        first = frame.captured if first is None else first
        if not timed:
            yield replace(frame, elapsed=round(place // size * 1_000_000 / options.fps))
        elif frame.captured is None or first is None:
            yield frame
        else:
            yield replace(frame, elapsed=frame.captured - first)
        place += 1

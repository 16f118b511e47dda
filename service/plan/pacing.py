"""How long each picture is shown so that the video keeps the pace of the capture times."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from fractions import Fraction

from service.errors import invalid_field
from service.plan.render_plan import FrameRef, RenderOptions
from service.plan.timing import FASTEST, TICKS, CapturedTiming, ClockNote

MICROSECONDS = 1_000_000
LEAP, LEAP_STEPS = 24 * 3600 * MICROSECONDS, 1000
"""A step ahead by more than a day and by more than this many usual steps is a clock that was set, not a pause."""

LONGEST = 24 * 3600 * TICKS
WAITING = 10_000
"""Frames that may wait for the next capture time to be known; more are shown at the usual pace."""


async def paced(
    frames: AsyncIterator[FrameRef], timing: CapturedTiming, options: RenderOptions
) -> AsyncIterator[FrameRef]:
    """The frames with `shown_for` (ticks, at least 1) and `clock` (what is odd about their capture time).

    What a frame gets depends on the frames up to the next later one only, so a grown sequence changes only its end.
    Raises Invalid when the video would last over a day or show over 240 pictures a second.
    """
    pacer, count = _Pacer(timing.speed, options.fps), 0
    async for frame in frames:
        for ready in pacer.take(frame):
            yield ready
        count += 1
        if pacer.now > LONGEST:
            raise invalid_field("#/speed", "the video would last over 24 hours: give a higher speed", "too_long")
    for ready in pacer.close(None):
        yield ready
    size = options.bins.size if options.bins else 1
    if count > size and -(-count // size) * TICKS > FASTEST * pacer.now:
        rate = round(-(-count // size) * TICKS / pacer.now)
        detail = f"{rate} pictures a second would be shown, at most {FASTEST} can: lower speed, raise decimation_factor"
        raise invalid_field("#/speed", detail, "too_fast")


class _Pacer:
    """Holds the frames of one capture time until the next one is known, then gives each its share of the time between.

    `now` is the end of what was given out, in ticks; capture time is counted in microseconds.
    """

    def __init__(self, speed: Fraction, fps: Fraction) -> None:
        self._ticks = Fraction(TICKS, MICROSECONDS) / speed
        self._usual, self._usual_is_known = MICROSECONDS * speed / fps, False
        self._waiting: list[FrameRef] = []
        self._captured: int | None = None
        self._passed = Fraction(0)
        self.now = 0

    def take(self, frame: FrameRef) -> Iterator[FrameRef]:
        """Frames whose time is known now."""
        if frame.captured is None or (self._waiting and frame.captured == self._captured):
            self._waiting.append(replace(frame, clock="unknown" if frame.captured is None else "same"))
            if len(self._waiting) >= WAITING:
                yield from self._give(self._usual * len(self._waiting))
            return
        note: ClockNote | None = None
        if self._captured is not None:
            note = self._odd(frame.captured - self._captured)
        yield from self.close(None if note else frame.captured)
        self._captured = frame.captured
        self._waiting.append(replace(frame, clock=note))

    def close(self, until: int | None) -> Iterator[FrameRef]:
        """Give out what waits: up to this capture time, or for the usual time each."""
        if until is None or self._captured is None or not self._waiting:
            yield from self._give(self._usual * len(self._waiting))
            return
        span = Fraction(until - self._captured)
        self._usual, self._usual_is_known = span / len(self._waiting), True
        yield from self._give(span)

    def _odd(self, step: int) -> ClockNote | None:
        if step < 0:
            return "back"
        usual = self._usual * max(len(self._waiting), 1)
        return "jump" if self._usual_is_known and step > LEAP and step > LEAP_STEPS * usual else None

    def _give(self, span: Fraction) -> Iterator[FrameRef]:
        count = len(self._waiting)
        for number, frame in enumerate(self._waiting, 1):
            end = max(self.now + 1, round((self._passed + span * number / count) * self._ticks))
            yield replace(frame, shown_for=end - self.now)
            self.now = end
        self._passed += span
        self._waiting = []

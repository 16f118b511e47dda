"""When pictures are shown: at a steady rate, or spaced as they were captured."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from service.errors import invalid_field

Timing = Literal["uniform", "captured"]

TICKS = 10_000
"""Ticks per second of a render paced by capture times: fine enough for any camera; a day of them fits 31 bits."""

NOMINAL = Fraction(30)
"""The rate that a file paced by capture times names where it must name one."""

SLOWEST, FASTEST = Fraction(1, 10), 240
"""Pictures per second of a video."""

ClockNote = Literal["same", "unknown", "back", "jump"]

CLOCK_NOTES: dict[ClockNote, str] = {
    "same": "captured at the same time as the frame before it: they share the time up to the next",
    "unknown": "no capture time: placed evenly between the frames around it",
    "back": "the camera's clock went back here: the frame before it is shown for the usual time",
    "jump": "the camera's clock leapt ahead here: the frame before it is shown for the usual time",
}


@dataclass(frozen=True, slots=True)
class CapturedTiming:
    """`speed` seconds of capture time pass in a second of video."""

    speed: Fraction


def exact_rate(fps: float) -> Fraction:
    """fps as an exact fraction: 29.97 and 23.976 become the NTSC rates."""
    for nominal in (24, 30, 48, 60, 120):
        ntsc = Fraction(nominal * 1000, 1001)
        if abs(fps - float(ntsc)) < 0.002:
            return ntsc
    return Fraction(fps).limit_denominator(1000)


def rate_lasting(frames: int, seconds: float) -> Fraction:
    """Frames per second at which this many frames last that long, to within a millionth. Raises Invalid."""
    rate = Fraction(frames / seconds).limit_denominator(10_000)
    if not SLOWEST <= rate <= FASTEST:
        detail = (
            f"{frames} frames in {seconds:g} s are {float(rate):.4g} a second; between 0.1 and {FASTEST} can be shown"
        )
        raise invalid_field("#/duration_seconds", detail, "impossible_rate")
    return rate

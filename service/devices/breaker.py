"""The breaker of one capability, as a value: what is believed of it, and when it is to be looked at again."""

from dataclasses import dataclass, replace

from service.devices.canary import Absent, Faulty, Passed, Verdict
from service.plan.capability import State

FIRST_PAUSE_S = 4.0
STEADY = 3
"""Passes in a row after which earlier faults are forgotten."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds: between two looks at what works; the first pause after a fault, doubled by each further one."""

    period_s: float
    pause_s: float = FIRST_PAUSE_S
    longest_pause_s: float = 240.0

    def pause(self, faults: int) -> float:
        return min(self.pause_s * 2.0 ** min(faults - 1, 30), self.longest_pause_s)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Times are those of the caller's clock, which must not jump. `seen_at` is when its canary last told something.

    What was there and is not any more has a fault; only what never was is absent.
    A quarantined capability whose pause is over is half open: its next canary alone decides, and a pass makes it ok.
    """

    state: State = "unknown"
    reason: str = "not looked at yet"
    seen_at: float | None = None
    rate: float | None = None
    faults: int = 0
    passes: int = 0
    due_at: float = 0.0

    def after(self, verdict: Verdict, now: float, rhythm: Rhythm) -> "Breaker":
        """What is believed when its canary has told this."""
        match verdict:
            case Passed(rate):
                passes = self.passes + 1
                faults = 0 if passes >= STEADY else self.faults
                return Breaker("ok", "", now, rate, faults, passes, now + rhythm.period_s)
            case Absent(reason) if self.state in ("ok", "degraded", "quarantined"):
                return self._faulty(reason, now, rhythm, grave=True)
            case Absent(reason):
                return Breaker("absent", reason, now, due_at=now + rhythm.longest_pause_s)
            case Faulty(reason, grave):
                return self._faulty(reason, now, rhythm, grave=grave)

    def suspected(self, now: float) -> "Breaker":
        """Something went wrong nearby: look now. What is quarantined keeps its pause."""
        return self if self.state == "quarantined" else replace(self, due_at=min(self.due_at, now))

    def _faulty(self, reason: str, now: float, rhythm: Rhythm, *, grave: bool) -> "Breaker":
        """One light fault (out of memory) only makes it degraded; the next one in a row is as grave as any."""
        faults = self.faults + 1
        again = self.state in ("degraded", "quarantined")
        state: State = "quarantined" if grave or again else "degraded"
        return Breaker(state, reason, now, None, faults, 0, now + rhythm.pause(faults))

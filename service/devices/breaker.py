"""The breaker of one capability, as a value: what is believed of it, and when it is to be looked at again."""

from dataclasses import dataclass, replace

from service.devices.canary import AbsentResult, CanaryResult, FaultResult, PassResult
from service.plan.capability import State

INITIAL_BACKOFF_S = 4.0
PASSES_TO_RESET = 3
"""Passes in a row after which earlier faults are forgotten."""


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Seconds: between two looks at what works; the first pause after a fault, doubled by each further one."""

    period_s: float
    initial_backoff_s: float = INITIAL_BACKOFF_S
    max_backoff_s: float = 240.0

    def backoff_s(self, faults: int) -> float:
        return min(self.initial_backoff_s * 2.0 ** min(faults - 1, 30), self.max_backoff_s)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Times are those of the caller's clock, which must not jump. `seen_at` is when its canary last told something.

    What was there and is not any more has a fault; only what never was is absent.
    A quarantined capability whose pause is over is half open: its next canary alone decides, and a pass makes it ok.
    """

    state: State = "unknown"
    reason: str = "not looked at yet"
    tested_at: float | None = None
    rate: float | None = None
    faults: int = 0
    passes: int = 0
    due_at: float = 0.0

    def next_state(self, result: CanaryResult, now: float, policy: BackoffPolicy) -> "Breaker":
        """What is believed when its canary has told this."""
        match result:
            case PassResult(rate):
                passes = self.passes + 1
                faults = 0 if passes >= PASSES_TO_RESET else self.faults
                return Breaker("ok", "", now, rate, faults, passes, now + policy.period_s)
            case AbsentResult(reason) if self.state in ("ok", "degraded", "quarantined"):
                return self._after_fault(reason, now, policy, fatal=True)
            case AbsentResult(reason):
                return Breaker("absent", reason, now, due_at=now + policy.max_backoff_s)
            case FaultResult(reason, grave):
                return self._after_fault(reason, now, policy, fatal=grave)

    def recheck_now(self, now: float) -> "Breaker":
        """Something went wrong nearby: look now. What is quarantined keeps its pause."""
        return self if self.state == "quarantined" else replace(self, due_at=min(self.due_at, now))

    def _after_fault(self, reason: str, now: float, policy: BackoffPolicy, *, fatal: bool) -> "Breaker":
        """One light fault (out of memory) only makes it degraded; the next one in a row is as grave as any."""
        faults = self.faults + 1
        again = self.state in ("degraded", "quarantined")
        state: State = "quarantined" if fatal or again else "degraded"
        return Breaker(state, reason, now, None, faults, 0, now + policy.backoff_s(faults))

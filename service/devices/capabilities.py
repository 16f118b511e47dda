"""The state of every capability of this machine, each behind a circuit breaker, and the canaries that are due."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf

from service.devices.canary import AbsentResult, Canary, CanaryResult, CapabilityKey, FaultResult, PassResult
from service.devices.device import Device
from service.plan.capability import CPU, Capability, State

INITIAL_BACKOFF_S = 4.0
# Consecutive passes after which earlier faults are forgotten.
PASSES_TO_RESET = 3


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Seconds between canaries that pass, and the backoff after a fault, which doubles with each further one."""

    period_s: float
    initial_backoff_s: float = INITIAL_BACKOFF_S
    max_backoff_s: float = 240.0

    def backoff_s(self, faults: int) -> float:
        return min(self.initial_backoff_s * 2.0 ** min(faults - 1, 30), self.max_backoff_s)


@dataclass(frozen=True, slots=True)
class Breaker:
    """The circuit breaker of one capability. Times are seconds of the caller's monotonic clock.

    A capability that disappears has a fault; only one that never worked is absent. A quarantined capability whose
    backoff is over is half open: its next canary decides, and a pass makes it ok.
    """

    state: State = "unknown"
    reason: str = "not tested yet"
    # When its last canary finished.
    tested_at: float | None = None
    rate: float | None = None
    faults: int = 0
    passes: int = 0
    due_at: float = 0.0

    def next_state(self, result: CanaryResult, now: float, policy: BackoffPolicy) -> "Breaker":
        """The breaker after a canary with this result."""
        match result:
            case PassResult(rate):
                passes = self.passes + 1
                faults = 0 if passes >= PASSES_TO_RESET else self.faults
                return Breaker("ok", "", now, rate, faults, passes, now + policy.period_s)
            case AbsentResult(reason) if self.state in ("ok", "degraded", "quarantined"):
                return self._after_fault(reason, now, policy, fatal=True)
            case AbsentResult(reason):
                return Breaker("absent", reason, now, due_at=now + policy.max_backoff_s)
            case FaultResult(reason, fatal):
                return self._after_fault(reason, now, policy, fatal=fatal)

    def recheck_now(self, now: float) -> "Breaker":
        """Make the canary due now; a quarantined capability keeps its backoff."""
        return self if self.state == "quarantined" else replace(self, due_at=min(self.due_at, now))

    def _after_fault(self, reason: str, now: float, policy: BackoffPolicy, *, fatal: bool) -> "Breaker":
        """A light fault (out of memory) only degrades the capability; a second one in a row quarantines it."""
        faults = self.faults + 1
        repeated = self.state in ("degraded", "quarantined")
        state: State = "quarantined" if fatal or repeated else "degraded"
        return Breaker(state, reason, now, None, faults, 0, now + policy.backoff_s(faults))


# A passed canary is valid for this many periods and this many seconds more.
STALE_PERIODS, STALE_S = 5, 60.0


class CapabilityTable:
    """Owned by one worker. `clock` must be monotonic and count seconds."""

    def __init__(self, period_s: float, cpu_period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        # After the first fault a capability is tested again at least as soon as after a pass.
        self._gpu_policy, self._cpu_policy = (
            BackoffPolicy(period, min(INITIAL_BACKOFF_S, period)) for period in (period_s, cpu_period_s)
        )
        self._clock = clock
        self._canaries: dict[CapabilityKey, Canary] = {}
        self._breakers: dict[CapabilityKey, Breaker] = {}
        self._devices: dict[str, Device] = {}

    def update_devices(self, devices: Iterable[Device], canaries: Callable[[str], Iterable[Canary]]) -> None:
        """Replace the devices: new ones get breakers, missing ones lose theirs."""
        self._devices = {device.name: device for device in devices}
        self._canaries = {canary.key: canary for name in self._devices for canary in canaries(name)}
        now = self._clock()
        self._breakers = {key: self._breakers.get(key, Breaker(due_at=now)) for key in self._canaries}
        for device in self._devices.values():
            if device.fault:
                self.quarantine(device.name, device.fault)
            if device.needs_recheck:
                self.request_recheck(device.name)

    def breaker(self, key: CapabilityKey) -> Breaker | None:
        return self._breakers.get(key)

    def devices(self) -> tuple[Device, ...]:
        return tuple(self._devices.values())

    def due_canaries(self, cpu_delay_s: float = 0.0) -> list[Canary]:
        """All due canaries of one device: the device whose canary has been due for the longest.

        Those of the CPU are due `cpu_delay_s` later than usual.
        """
        now = self._clock()
        by_due_time = sorted((due_at, key) for key, due_at in self._due_times(cpu_delay_s).items())
        due = [self._canaries[key] for due_at, key in by_due_time if due_at <= now]
        return [canary for canary in due if canary.device == due[0].device]

    def is_due(self, key: CapabilityKey, cpu_delay_s: float = 0.0) -> bool:
        """Whether the canary of this capability is due; false if its device is gone."""
        return self._due_times(cpu_delay_s).get(key, inf) <= self._clock()

    def seconds_until_due(self, cpu_delay_s: float = 0.0) -> float:
        """Until the next canary is due; 1 without any."""
        due_times = self._due_times(cpu_delay_s).values()
        return max(min(due_times, default=self._clock() + 1.0) - self._clock(), 0.0)

    def _due_times(self, cpu_delay_s: float) -> dict[CapabilityKey, float]:
        return {
            key: breaker.due_at + (cpu_delay_s if key.device == CPU else 0.0)
            for key, breaker in self._breakers.items()
            if self._is_present(key)
        }

    def record(self, key: CapabilityKey, result: CanaryResult) -> Breaker | None:
        """Record the result of a canary: the new breaker, or None if the device is gone."""
        if key not in self._breakers:
            return None
        self._breakers[key] = self._breakers[key].next_state(result, self._clock(), self._policy_for(key))
        return self._breakers[key]

    def request_recheck(self, device: str | None = None) -> None:
        """After a fault: make the canaries of the device, or of all devices, due now."""
        now = self._clock()
        for key in self._breakers:
            if device in (None, key.device):
                self._breakers[key] = self._breakers[key].recheck_now(now)

    def quarantine(self, device: str, reason: str) -> None:
        """The driver reports that the device is broken: do not use it before its canaries pass."""
        for key, breaker in tuple(self._breakers.items()):
            if key.device == device and breaker.state not in ("absent", "quarantined"):
                self.record(key, FaultResult(reason))

    def capabilities(self) -> tuple[Capability, ...]:
        """The capabilities for the plan and the slots, with wall-clock times."""
        return tuple(self._capability(key, breaker) for key, breaker in self._breakers.items())

    def to_json(self) -> list[dict[str, object]]:
        """Rows for the database; `age` and `next` are seconds before and after now."""
        now = self._clock()
        return [
            {
                **{name: getattr(capability, name) for name in ("device", "stage", "what", "state", "reason", "rate")},
                "age": None if breaker.tested_at is None else now - breaker.tested_at,
                "faults": breaker.faults,
                "next": max(breaker.due_at - now, 0.0),
            }
            for capability, breaker in zip(self.capabilities(), self._breakers.values(), strict=True)
        ]

    def _capability(self, key: CapabilityKey, breaker: Breaker) -> Capability:
        canary = self._canaries[key]
        age_s = None if breaker.tested_at is None else self._clock() - breaker.tested_at
        state, reason = self._current_state(key, breaker, age_s)
        proven_at = None if age_s is None else time.time() - age_s
        return Capability(canary.device, canary.stage, canary.what, state, reason, proven_at, breaker.rate)

    def _current_state(self, key: CapabilityKey, breaker: Breaker, age_s: float | None) -> tuple[State, str]:
        """The state of the breaker, unless the device is absent or has a warning, or the last canary is too old."""
        device = self._devices[key.device]
        if device.absent_reason:
            return "absent", device.absent_reason
        max_age_s = STALE_PERIODS * self._policy_for(key).period_s + STALE_S
        if breaker.state == "ok" and age_s is not None and age_s > max_age_s:
            return "unknown", "its last canary result is too old"
        if device.warning and breaker.state == "ok":
            return "degraded", device.warning
        return breaker.state, breaker.reason

    def _policy_for(self, key: CapabilityKey) -> BackoffPolicy:
        return self._cpu_policy if key.device == CPU else self._gpu_policy

    def _is_present(self, key: CapabilityKey) -> bool:
        return self._devices[key.device].absent_reason is None

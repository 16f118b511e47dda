"""The state of every capability of this machine, each behind a circuit breaker, and which canary is due next."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from service.devices.canary import AbsentResult, Canary, CanaryResult, CapabilityKey, FaultResult, PassResult
from service.devices.device import Device
from service.plan.capability import CPU, Capability, State

INITIAL_BACKOFF_S = 4.0
# Passes in a row after which earlier faults are forgotten.
PASSES_TO_RESET = 3


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


# A proof is believed for so many periods and so many seconds more.
STALE_PERIODS, STALE_S = 5, 60.0


class CapabilityTable:
    """Kept by one worker; `clock` counts seconds and does not jump."""

    def __init__(self, period_s: float, cpu_period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._gpu_policy, self._cpu_policy = _backoff_policy(period_s), _backoff_policy(cpu_period_s)
        self._clock = clock
        self._canaries: dict[CapabilityKey, Canary] = {}
        self._breakers: dict[CapabilityKey, Breaker] = {}
        self._devices: dict[str, Device] = {}

    def update_devices(self, devices: Iterable[Device], canaries: Callable[[str], Iterable[Canary]]) -> None:
        """What there is now: new devices get breakers, those that are gone lose theirs."""
        self._devices = {device.name: device for device in devices}
        now = {canary.key: canary for name in self._devices for canary in canaries(name)}
        self._breakers = {key: self._breakers.get(key, Breaker(due_at=self._clock())) for key in now}
        self._canaries = now
        for device in self._devices.values():
            if device.fault:
                self.quarantine(device.name, device.fault)
            if device.needs_recheck:
                self.request_recheck(device.name)

    def breaker(self, key: CapabilityKey) -> Breaker | None:
        return self._breakers.get(key)

    def devices(self) -> tuple[Device, ...]:
        return tuple(self._devices.values())

    def due_canaries(self) -> list[Canary]:
        """Of one device, those whose time has come: of that whose canary waits for the longest."""
        now = self._clock()
        waiting = sorted((self._breakers[key].due_at, key) for key in self._breakers if self._is_present(key[0]))
        late = [self._canaries[key] for due_at, key in waiting if due_at <= now]
        return [canary for canary in late if canary.device == late[0].device]

    def seconds_until_due(self) -> float:
        """Until the next is due."""
        nexts = [breaker.due_at for key, breaker in self._breakers.items() if self._is_present(key[0])]
        return max(min(nexts, default=self._clock() + 1.0) - self._clock(), 0.0)

    def record(self, key: CapabilityKey, result: CanaryResult) -> Breaker | None:
        """What is believed now; None when the device is gone meanwhile."""
        if key not in self._breakers:
            return None
        self._breakers[key] = self._breakers[key].next_state(result, self._clock(), self._policy_for(key))
        return self._breakers[key]

    def request_recheck(self, device: str | None = None) -> None:
        """After a fault: the canaries of the device, or of all, are due now."""
        now = self._clock()
        for key in self._breakers:
            if device in (None, key[0]):
                self._breakers[key] = self._breakers[key].recheck_now(now)

    def quarantine(self, device: str, reason: str) -> None:
        """The driver itself says that the device is broken: nothing of it is used before its canaries pass."""
        for key, breaker in tuple(self._breakers.items()):
            if key[0] == device and breaker.state not in ("absent", "quarantined"):
                self.record(key, FaultResult(reason))

    def capabilities(self) -> tuple[Capability, ...]:
        """As the plan, the slots and the rows have it; times are turned into those of the wall clock."""
        return tuple(self._capability(key, breaker) for key, breaker in self._breakers.items())

    def to_json(self) -> list[dict[str, object]]:
        """As rows; `age` and `next` are seconds from now."""
        now = self._clock()
        return [
            {
                **{name: getattr(told, name) for name in ("device", "stage", "what", "state", "reason", "rate")},
                "age": None if breaker.tested_at is None else now - breaker.tested_at,
                "faults": breaker.faults,
                "next": max(breaker.due_at - now, 0.0),
            }
            for told, breaker in zip(self.capabilities(), self._breakers.values(), strict=True)
        ]

    def _capability(self, key: CapabilityKey, breaker: Breaker) -> Capability:
        canary, ago = self._canaries[key], None if breaker.tested_at is None else self._clock() - breaker.tested_at
        state, reason = self._current_state(key, breaker, ago)
        proven = None if ago is None else time.time() - ago
        return Capability(canary.device, canary.stage, canary.what, state, reason, proven, breaker.rate)

    def _current_state(self, key: CapabilityKey, breaker: Breaker, age_s: float | None) -> tuple[State, str]:
        """What the breaker believes, if the device is there, in good order, and the proof not too old."""
        device = self._devices[key[0]]
        if device.absent_reason:
            return "absent", device.absent_reason
        if (
            age_s is not None
            and breaker.state == "ok"
            and age_s > STALE_PERIODS * self._policy_for(key).period_s + STALE_S
        ):
            return "unknown", "its last proof is too old"
        if device.warning and breaker.state == "ok":
            return "degraded", device.warning
        return breaker.state, breaker.reason

    def _policy_for(self, key: CapabilityKey) -> BackoffPolicy:
        return self._cpu_policy if key[0] == CPU else self._gpu_policy

    def _is_present(self, device: str) -> bool:
        return self._devices[device].absent_reason is None


def _backoff_policy(period_s: float) -> BackoffPolicy:
    """What is broken is looked at no later than what works, at first."""
    return BackoffPolicy(period_s, min(INITIAL_BACKOFF_S, period_s))

"""Every capability of every device of this machine with its breaker, and whose canary is next."""

import time
from collections.abc import Callable, Iterable

from service.devices.breaker import FIRST_PAUSE_S, Breaker, Rhythm
from service.devices.canary import Canary, Faulty, Key, Verdict
from service.devices.device import Device
from service.plan.capability import CPU, Capability, State

STALE_PERIODS, STALE_S = 5, 60.0
"""A proof is believed for so many periods and so many seconds more."""


class Table:
    """Kept by one worker; `clock` counts seconds and does not jump."""

    def __init__(self, period_s: float, cpu_period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rhythm, self._cpu_rhythm = _rhythm(period_s), _rhythm(cpu_period_s)
        self._clock = clock
        self._canaries: dict[Key, Canary] = {}
        self._breakers: dict[Key, Breaker] = {}
        self._devices: dict[str, Device] = {}

    def found(self, devices: Iterable[Device], canaries: Callable[[str], Iterable[Canary]]) -> None:
        """What there is now: new devices get breakers, those that are gone lose theirs."""
        self._devices = {device.name: device for device in devices}
        now = {canary.key: canary for name in self._devices for canary in canaries(name)}
        self._breakers = {key: self._breakers.get(key, Breaker(due_at=self._clock())) for key in now}
        self._canaries = now
        for device in self._devices.values():
            if device.fault:
                self.fault(device.name, device.fault)
            if device.suspect:
                self.suspect(device.name)

    def breaker(self, key: Key) -> Breaker | None:
        return self._breakers.get(key)

    def devices(self) -> tuple[Device, ...]:
        return tuple(self._devices.values())

    def due(self) -> list[Canary]:
        """Of one device, those whose time has come: of that whose canary waits for the longest."""
        now = self._clock()
        waiting = sorted((self._breakers[key].due_at, key) for key in self._breakers if self._alive(key[0]))
        late = [self._canaries[key] for due_at, key in waiting if due_at <= now]
        return [canary for canary in late if canary.device == late[0].device]

    def wait_s(self) -> float:
        """Until the next is due."""
        nexts = [breaker.due_at for key, breaker in self._breakers.items() if self._alive(key[0])]
        return max(min(nexts, default=self._clock() + 1.0) - self._clock(), 0.0)

    def record(self, key: Key, verdict: Verdict) -> Breaker | None:
        """What is believed now; None when the device is gone meanwhile."""
        if key not in self._breakers:
            return None
        self._breakers[key] = self._breakers[key].after(verdict, self._clock(), self._of(key))
        return self._breakers[key]

    def suspect(self, device: str | None = None) -> None:
        """After a fault: the canaries of the device, or of all, are due now."""
        now = self._clock()
        for key in self._breakers:
            if device in (None, key[0]):
                self._breakers[key] = self._breakers[key].suspected(now)

    def fault(self, device: str, reason: str) -> None:
        """The driver itself says that the device is broken: nothing of it is used before its canaries pass."""
        for key, breaker in tuple(self._breakers.items()):
            if key[0] == device and breaker.state not in ("absent", "quarantined"):
                self.record(key, Faulty(reason))

    def capabilities(self) -> tuple[Capability, ...]:
        """As the plan, the slots and the rows have it; times are turned into those of the wall clock."""
        return tuple(self._capability(key, breaker) for key, breaker in self._breakers.items())

    def to_json(self) -> list[dict[str, object]]:
        """As rows; `age` and `next` are seconds from now."""
        now = self._clock()
        return [
            {
                **{name: getattr(told, name) for name in ("device", "stage", "what", "state", "reason", "rate")},
                "age": None if breaker.seen_at is None else now - breaker.seen_at,
                "faults": breaker.faults,
                "next": max(breaker.due_at - now, 0.0),
            }
            for told, breaker in zip(self.capabilities(), self._breakers.values(), strict=True)
        ]

    def _capability(self, key: Key, breaker: Breaker) -> Capability:
        canary, ago = self._canaries[key], None if breaker.seen_at is None else self._clock() - breaker.seen_at
        state, reason = self._believed(key, breaker, ago)
        proven = None if ago is None else time.time() - ago
        return Capability(canary.device, canary.stage, canary.what, state, reason, proven, breaker.rate)

    def _believed(self, key: Key, breaker: Breaker, ago: float | None) -> tuple[State, str]:
        """What the breaker believes, if the device is there, in good order, and the proof not too old."""
        device = self._devices[key[0]]
        if device.absent:
            return "absent", device.absent
        if ago is not None and breaker.state == "ok" and ago > STALE_PERIODS * self._of(key).period_s + STALE_S:
            return "unknown", "its last proof is too old"
        if device.warning and breaker.state == "ok":
            return "degraded", device.warning
        return breaker.state, breaker.reason

    def _of(self, key: Key) -> Rhythm:
        return self._cpu_rhythm if key[0] == CPU else self._rhythm

    def _alive(self, device: str) -> bool:
        return self._devices[device].absent is None


def _rhythm(period_s: float) -> Rhythm:
    """What is broken is looked at no later than what works, at first."""
    return Rhythm(period_s, min(FIRST_PAUSE_S, period_s))

"""What capabilities say about one device and one thing, and the rate to count with."""

from collections.abc import Sequence

from service.plan.capability import CPU, Capability, Stage
from service.plan.rates import RATES


class Proven:
    """Capabilities, looked up; of several rows for the same thing a usable one counts."""

    def __init__(self, capabilities: Sequence[Capability]) -> None:
        ordered = sorted(capabilities, key=lambda one: (one.usable, one.rate or 0.0, one.reason))
        self._known = {(one.device, one.stage, one.what): one for one in ordered}
        self.devices = sorted({one.device for one in capabilities} - {CPU})

    def usable(self, device: str, stage: Stage, what: str) -> bool:
        found = self._known.get((device, stage, what))
        return found is not None and found.usable

    def why_not(self, device: str, stage: Stage, what: str) -> str:
        found = self._known.get((device, stage, what))
        return (
            f"{device} {stage} {what}: {found.reason or found.state}" if found else f"{device} {stage} {what}: unknown"
        )

    def rate(self, device: str, stage: Stage, what: str) -> float:
        found = self._known.get((device, stage, what))
        kind = CPU if device == CPU else "cuda"
        return (found.rate if found and found.rate else None) or RATES[kind, stage].get(what, RATES[kind, stage][""])

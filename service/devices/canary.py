"""A canary: a self-test of one capability of a device whose output is known, and its possible results."""

from dataclasses import dataclass
from typing import ClassVar

from service.plan.capability import Stage

# Device, stage, what.
CapabilityKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Canary:
    """`work` names a function, "package.module:name", that takes the device, does the work, checks its own output, and
    returns megapixels a second. It raises NotHere, Broken, WrongOutput, or whatever the work raises."""

    device: str
    stage: Stage
    what: str
    entry_point: str

    @property
    def key(self) -> CapabilityKey:
        return (self.device, self.stage, self.what)


class Unsupported(Exception):
    """The device does not have this at all (no such engine, library or codec): the text says why. No fault."""


class DeviceUnusable(Exception):
    """The device, or this process's hold on it, is of no more use."""


class WrongOutput(Exception):
    """It worked, without an error, and what came out is not what it should be."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """The output was right."""

    outcome: ClassVar[str] = "passed"
    # Megapixels a second.
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class AbsentResult:
    """There is no such thing here."""

    outcome: ClassVar[str] = "absent"
    reason: str


@dataclass(frozen=True, slots=True)
class FaultResult:
    """It is here and does not work. `grave`: wrong output, a hang or a death, of which one is enough."""

    outcome: ClassVar[str] = "faulty"
    reason: str
    fatal: bool = True


CanaryResult = PassResult | AbsentResult | FaultResult

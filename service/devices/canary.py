"""A canary: a self-test of one capability of a device with a known output, and its possible results."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from service.plan.capability import Stage


class CapabilityKey(NamedTuple):
    """Identifies a capability: ("cuda:0", "decode", "jpeg")."""

    device: str
    stage: str
    what: str


@dataclass(frozen=True, slots=True)
class Canary:
    """`entry_point` is "package.module:name" of a function that takes the name of the device, checks its own output and
    returns megapixels per second. It raises Unsupported, DeviceUnusable, WrongOutput, or whatever the work raises."""

    device: str
    stage: Stage
    what: str
    entry_point: str

    @property
    def key(self) -> CapabilityKey:
        return CapabilityKey(self.device, self.stage, self.what)


class Unsupported(Exception):
    """The device lacks the engine, library or codec: not a fault. The message is the reason."""


class DeviceUnusable(Exception):
    """The device, or its context in this process, is broken."""


class WrongOutput(Exception):
    """The work raised no error, and its output is wrong."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """The output was correct."""

    outcome: ClassVar[str] = "passed"
    # Megapixels per second.
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class AbsentResult:
    """The device does not have the capability."""

    outcome: ClassVar[str] = "absent"
    reason: str


@dataclass(frozen=True, slots=True)
class FaultResult:
    """The device has the capability, and it failed. `fatal`: one such fault is enough to quarantine it."""

    outcome: ClassVar[str] = "faulty"
    reason: str
    fatal: bool = True


CanaryResult = PassResult | AbsentResult | FaultResult

"""A device of this machine: what it is, its readings, and the reason for each reading that is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

ReadingValue = float | int | str | bool | list[str] | list[int] | None


@dataclass(slots=True)
class Readings:
    """Named values, the unit in the name. A value that cannot be read is None, and `unknown` has the reason."""

    values: dict[str, ReadingValue] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, reader: Callable[[], ReadingValue]) -> None:
        """Store the value; if `reader` raises, store None and the reason."""
        try:
            self.values[name] = reader()
        except Exception as error:
            self.mark_unknown(name, str(error).strip() or type(error).__name__)

    def pop_text(self, name: str) -> str | None:
        """Remove a value that is stored elsewhere, and return it as text."""
        self.unknown.pop(name, None)
        value = self.values.pop(name)
        return None if value is None else str(value)

    def mark_unknown(self, name: str, reason: str) -> None:
        self.values[name], self.unknown[name] = None, reason


@dataclass(frozen=True, slots=True)
class Device:
    """`name` is "cpu" or "cuda:0", "cuda:1", …"""

    name: str
    kind: Literal["cpu", "gpu"]
    model: str | None = None
    readings: Readings = field(default_factory=Readings)
    # Why there is no such device.
    absent_reason: str | None = None
    # Why it works, but slowly or with an error that needs a repair.
    warning: str | None = None
    # A new error; the device is quarantined until its canaries pass.
    fault: str | None = None
    # Something happened that may have damaged it: run its canaries.
    needs_recheck: bool = False

    def numeric_readings(self) -> dict[str, float]:
        """The readings that are numbers or booleans."""
        return {name: float(value) for name, value in self.readings.values.items() if isinstance(value, int | float)}

    def to_json(self) -> Mapping[str, object]:
        return {
            "device": self.name,
            "kind": self.kind,
            "model": self.model,
            "absent": self.absent_reason,
            "warning": self.warning,
            "figures": self.readings.values,
            "unknown": self.readings.unknown,
        }

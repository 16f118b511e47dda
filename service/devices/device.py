"""A device of this machine: what it is, its readings, and the reason for each reading that is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

ReadingValue = float | int | str | bool | list[str] | list[int] | None


@dataclass(slots=True)
class Readings:
    """`values` have the unit in their names; a value that cannot be read is None, and `unknown` says why."""

    values: dict[str, ReadingValue] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, reading: Callable[[], ReadingValue]) -> ReadingValue:
        """Whatever a reading raises, the others go on."""
        try:
            self.values[name] = reading()
        except Exception as error:
            self.mark_unknown(name, str(error).strip() or type(error).__name__)
        return self.values[name]

    def pop_text(self, name: str) -> str | None:
        """A text, which is then told elsewhere."""
        self.unknown.pop(name, None)
        value = self.values.pop(name)
        return None if value is None else str(value)

    def mark_unknown(self, name: str, reason: str) -> None:
        self.values[name], self.unknown[name] = None, reason


@dataclass(frozen=True, slots=True)
class Device:
    """`name` is "cpu", "cuda:0", … `absent` says why there is none, `warning` what slows or threatens it, `fault` what
    has just happened to it that only a canary can clear, `suspect` that something has happened in its neighbourhood."""

    name: str
    kind: Literal["cpu", "gpu"]
    model: str | None = None
    readings: Readings = field(default_factory=Readings)
    absent_reason: str | None = None
    warning: str | None = None
    fault: str | None = None
    needs_recheck: bool = False

    def numeric_readings(self) -> dict[str, float]:
        """The figures that are numbers, or yes and no."""
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

"""A device as it was found: what it is, what could be read of it, and what could not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = float | int | str | bool | list[str] | list[int] | None


@dataclass(slots=True)
class Figures:
    """`values` have the unit in their names; a value that cannot be read is None, and `unknown` says why."""

    values: dict[str, Value] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def read(self, name: str, reading: Callable[[], Value]) -> Value:
        """Whatever a reading raises, the others go on."""
        try:
            self.values[name] = reading()
        except Exception as error:
            self.missing(name, str(error).strip() or type(error).__name__)
        return self.values[name]

    def take(self, name: str) -> str | None:
        """A text, which is then told elsewhere."""
        self.unknown.pop(name, None)
        value = self.values.pop(name)
        return None if value is None else str(value)

    def missing(self, name: str, reason: str) -> None:
        self.values[name], self.unknown[name] = None, reason


@dataclass(frozen=True, slots=True)
class Device:
    """`name` is "cpu", "cuda:0", … `absent` says why there is none, `warning` what slows or threatens it, `fault` what
    has just happened to it that only a canary can clear, `suspect` that something has happened in its neighbourhood."""

    name: str
    kind: Literal["cpu", "gpu"]
    model: str | None = None
    figures: Figures = field(default_factory=Figures)
    absent: str | None = None
    warning: str | None = None
    fault: str | None = None
    suspect: bool = False

    def numbers(self) -> dict[str, float]:
        """The figures that are numbers, or yes and no."""
        return {name: float(value) for name, value in self.figures.values.items() if isinstance(value, int | float)}

    def to_json(self) -> Mapping[str, object]:
        return {
            "device": self.name,
            "kind": self.kind,
            "model": self.model,
            "absent": self.absent,
            "warning": self.warning,
            "figures": self.figures.values,
            "unknown": self.figures.unknown,
        }

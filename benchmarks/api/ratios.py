"""Ratios of the rows of `python -m benchmarks api`, held against their goals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

# From the issue: p99 beside renders as a multiple of the idle one; the part of a bare hello that three layers cost.
RENDER_LIMIT, MIDDLEWARE_LIMIT = 2.0, 0.30

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class GoalRatio:
    """One value for each repetition; without a limit it is only told."""

    label: str
    values: tuple[float, ...]
    limit: float | None = None

    @property
    def is_missed(self) -> bool:
        return self.limit is not None and median(self.values) > self.limit

    def __str__(self) -> str:
        least, most = min(self.values), max(self.values)
        goal = "" if self.limit is None else f", {'MISSES' if self.is_missed else 'within'} {self.limit:g}"
        return f"{self.label}: {median(self.values):.2f} ({least:.2f} to {most:.2f}{goal})"


def render_load_ratios(rows: Rows) -> Iterator[GoalRatio]:
    """p99 with all slots at work / p99 with idle slots, of each path."""
    for path in dict.fromkeys(row["path"] for row in rows if row["benchmark"] == "api"):
        idle, busy = (_values(rows, "p99_ms", path=path, state=state) for state in ("idle", "busy"))
        told = f"p99 of {path}, {median(idle):.1f} ms idle and {median(busy):.1f} ms beside a render"
        yield GoalRatio(told, tuple(b / a for a, b in zip(idle, busy, strict=True)), RENDER_LIMIT)


def middleware_cost_ratios(rows: Rows) -> Iterator[GoalRatio]:
    """The part of a bare hello's requests a second that is lost within middlewares; and of the CPU time, which
    neighbours on the machine disturb less, the part that middlewares take."""
    for name, limit in (("three", MIDDLEWARE_LIMIT), ("all", None)):
        (bare, rates), (cheap, times) = (_value_pair(rows, what, name) for what in ("requests_per_s", "cpu_us"))
        told = f"cost of {name} middlewares, {median(bare):.0f} requests/s bare and {median(rates):.0f} within"
        yield GoalRatio(told, tuple(1 - b / a for a, b in zip(bare, rates, strict=True)), limit)
        told = f"in CPU time, {median(cheap):.0f} us bare and {median(times):.0f} us within {name}"
        yield GoalRatio(told, tuple(1 - a / b for a, b in zip(cheap, times, strict=True)))


def _value_pair(rows: Rows, what: str, name: str) -> tuple[list[float], list[float]]:
    return _values(rows, what, layers="bare"), _values(rows, what, layers=name)


def _values(rows: Rows, name: str, **wanted: str) -> list[float]:
    return [row[name] for row in rows if wanted.items() <= row.items()]

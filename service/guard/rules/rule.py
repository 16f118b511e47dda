"""What a rule is, the query that it measures, and the limits that only the running query can exceed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.errors import FieldProblem
from service.guard.document import Document
from service.guard.filters import Branch, Leaf, leaves
from service.guard.schema import TableDescription
from service.guard.settings import GuardSettings


@dataclass(frozen=True, slots=True)
class ResolvedQuery:
    """A document about a table that exists."""

    document: Document
    table: TableDescription
    filters: Branch
    settings: GuardSettings

    @property
    def conditions(self) -> Iterable[Leaf]:
        return (node for _, node in leaves(self.filters) if isinstance(node, Leaf))


@dataclass(frozen=True, slots=True)
class Measurement:
    """How much it is, and the places to look at when that is too much."""

    actual: int
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A named bound, of the operator's choice. `suggestion` tells what to ask instead."""

    name: str
    description: str
    suggestion: str
    bound: Callable[[GuardSettings], int]


@dataclass(frozen=True, slots=True)
class Rule(Limit):
    """A bound on documents; `measure` is pure."""

    measure: Callable[[ResolvedQuery], Measurement]


def zero(_settings: GuardSettings) -> int:
    """The limit of rules that count mistakes."""
    return 0


def count_problems(problems: Iterable[FieldProblem]) -> Measurement:
    """One for each place."""
    found = tuple(problems)
    return Measurement(len(found), found)


def operand_values(leaf: Leaf) -> tuple[tuple[str, Any], ...]:
    """(pointer, value) of every single value that a condition compares with."""
    at = leaf.pointer("value")
    if leaf.op in ("in", "not_in", "between") and isinstance(leaf.value, list):
        return tuple((f"{at}/{number}", value) for number, value in enumerate(leaf.value))
    return ((at, leaf.value),)


CONCURRENCY = Limit(
    "concurrency",
    "queries of one caller that run at once in one process",
    "wait for your other queries to end",
    lambda settings: settings.concurrency,
)
PLAN_COST = Limit(
    "plan_cost",
    "PostgreSQL's cost estimate of the costliest step of the plan, rounded up to one digit",
    "filter by the table's key or by dataset_id, experiment_id or created_at",
    lambda settings: settings.max_cost,
)
STATEMENT_TIME = Limit(
    "statement_ms",
    "milliseconds that the query ran",
    "filter by the table's key or by dataset_id, experiment_id or created_at, or ask for fewer rows",
    lambda settings: round(settings.timeout_s * 1000),
)
RESULT_BYTES = Limit(
    "result_bytes",
    "bytes of JSON in the rows; rows beyond it are left for the next answer",
    "name only the columns you need",
    lambda settings: settings.max_bytes,
)
RUNTIME_LIMITS = (CONCURRENCY, PLAN_COST, STATEMENT_TIME, RESULT_BYTES)

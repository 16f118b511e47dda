"""What a limit and a rule are, and the limits that are measured while the query runs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service.errors import FieldProblem
from service.guard.filters import ResolvedQuery
from service.guard.settings import GuardSettings


@dataclass(frozen=True, slots=True)
class Limit:
    """A named bound, read from the settings. `suggestion` tells the caller what to send instead."""

    name: str
    description: str
    suggestion: str
    bound: Callable[[GuardSettings], int]


@dataclass(frozen=True, slots=True)
class Measurement:
    """The measured value, and the places to point at if it exceeds the limit."""

    actual: int
    problems: tuple[FieldProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule(Limit):
    """A limit on the document; `measure` is pure."""

    measure: Callable[[ResolvedQuery], Measurement]


def zero(_settings: GuardSettings) -> int:
    """The bound of limits that count mistakes."""
    return 0


def mistake_rule(
    name: str, description: str, suggestion: str, find_problems: Callable[[ResolvedQuery], Iterable[FieldProblem]]
) -> Rule:
    """A rule that every problem breaks: its limit is 0."""

    def measure(query: ResolvedQuery) -> Measurement:
        problems = tuple(find_problems(query))
        return Measurement(len(problems), problems)

    return Rule(name, description, suggestion, zero, measure)


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
# In the order in which they are checked; the first one is checked before the rules.
RUNTIME_LIMITS = (CONCURRENCY, PLAN_COST, STATEMENT_TIME, RESULT_BYTES)

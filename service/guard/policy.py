"""Measure a query against limits and rules. What breaks one is rejected with its limit and the measured value."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from service.errors import FieldProblem, GatewayTimeout, QueryRefusal, ReelmillError, TooManyRequests
from service.guard.document import Document
from service.guard.filters import Branch, ResolvedQuery, filter_tree
from service.guard.pagination import OrderKey, decode_cursor, order_keys
from service.guard.rules import semantics, sizes
from service.guard.rules.rule import Limit, Rule
from service.guard.schema import TableDescription, Tables
from service.guard.settings import GuardSettings

# A stage runs only if the one before found nothing: with sizes first, no rule has to look at much.
RULE_STAGES: tuple[tuple[Rule, ...], ...] = (
    (sizes.DEPTH, sizes.CONDITIONS, sizes.LIST_VALUES, sizes.NAMES, sizes.ROWS),
    (sizes.VALUE_BYTES,),
    (
        semantics.COLUMNS,
        semantics.OPERATORS,
        semantics.VALUES,
        semantics.SHAPE,
        sizes.PATTERN_LENGTH,
        sizes.PATTERN_WILDCARDS,
        sizes.PATTERN_ESCAPES,
    ),
)
MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """A limit and the measured value. The field names are those of `guardrails` in answers and audit records."""

    rule: str
    limit: int
    actual: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A measured value above its limit, the places that cause it, and what to send instead."""

    usage: LimitUsage
    suggestion: str
    problems: tuple[FieldProblem, ...]


class QueryRejected(ReelmillError):
    """A query that breaks one or more rules, as the caller reads it: `guardrails` has the broken rules, `errors` the
    places. `rule` is the first broken one; `limit_usage` has every value measured so far.
    """

    outcome: ClassVar[Literal["refused", "timed_out"]] = "refused"

    def __init__(self, violations: Sequence[Violation], limit_usage: tuple[LimitUsage, ...]) -> None:
        problems = tuple(problem for violation in violations for problem in violation.problems)
        guardrails = [asdict(violation.usage) | {"suggestion": violation.suggestion} for violation in violations]
        super().__init__(_summarize(violations[0]), problems[:MAX_PROBLEMS], extensions={"guardrails": guardrails})
        self.violations, self.limit_usage = tuple(violations), limit_usage
        self.rule = violations[0].usage.rule


class DisallowedQuery(QueryRejected, QueryRefusal):
    """The document breaks a rule, or running it would cost too much: 422."""


class QueryTimeout(QueryRejected, GatewayTimeout):
    """The query was stopped because it ran too long: 504."""

    outcome = "timed_out"


class TooManyQueries(QueryRejected, TooManyRequests):
    """The caller has too many queries running: 429."""

    def __init__(self, violations: Sequence[Violation], limit_usage: tuple[LimitUsage, ...]) -> None:
        super().__init__(violations, limit_usage)
        self.headers["Retry-After"] = "1"


def _summarize(violation: Violation) -> str:
    usage = violation.usage
    if usage.limit == 0:
        return f"{usage.rule}: {violation.problems[0].detail}"
    return f"{usage.rule}: {usage.actual} is over the limit of {usage.limit}; {violation.suggestion}"


class Guardrails:
    """The limits of one query. Keeps what was measured, in order, for the answer and the audit record."""

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self.usage: tuple[LimitUsage, ...] = ()

    def measure(self, limit: Limit, actual: int, problems: tuple[FieldProblem, ...] = ()) -> Violation | None:
        """Record `actual`. Returns the violation if it is over the limit."""
        violation = self._record(limit, actual, problems)
        return violation if actual > violation.usage.limit else None

    def check(self, limit: Limit, actual: int, error: type[QueryRejected] = DisallowedQuery) -> None:
        """Record `actual`. Raises `error` if it is over the limit."""
        if violation := self.measure(limit, actual):
            raise error((violation,), self.usage)

    def rejection(
        self,
        limit: Limit,
        actual: int,
        problems: tuple[FieldProblem, ...] = (),
        error: type[QueryRejected] = DisallowedQuery,
    ) -> QueryRejected:
        """Record `actual`, which is known to be too much. Returns the error to raise."""
        return error((self._record(limit, actual, problems),), self.usage)

    def _record(self, limit: Limit, actual: int, problems: tuple[FieldProblem, ...]) -> Violation:
        """The violation that this would be; without a more precise place it is the whole document."""
        usage = LimitUsage(limit.name, limit.bound(self.settings), actual)
        self.usage += (usage,)
        whole = FieldProblem(limit.suggestion, limit.name, pointer="#")
        return Violation(usage, limit.suggestion, problems or (whole,))


@dataclass(frozen=True, slots=True)
class ValidatedQuery:
    """A query that keeps all rules, with everything decided that its statement needs.

    `operands` are the values of each condition as PostgreSQL takes them, by the location of the condition.
    `cursor_position` has the values of `order_keys` to continue after, () for the first page.
    """

    document: Document
    table: TableDescription
    filters: Branch
    operands: Mapping[str, tuple[Any, ...]]
    order_keys: tuple[OrderKey, ...]
    cursor_position: tuple[Any, ...]


def validate(document: Document, tables: Tables, guardrails: Guardrails) -> ValidatedQuery:
    """Resolve the table, apply all rules, then decode the cursor. Does no I/O.

    All rules of a stage are measured before a rejection, so that the caller learns of every mistake at once.
    Raises DisallowedQuery.
    """
    table = tables.get(document.table)
    if table is None:
        raise guardrails.rejection(semantics.TABLE, 1, (semantics.unknown_table_problem(document, tables),))
    query = ResolvedQuery(document, table, filter_tree(document))
    for stage in RULE_STAGES:
        violations = [violation for rule in stage if (violation := _apply_rule(rule, query, guardrails))]
        if violations:
            raise DisallowedQuery(violations, guardrails.usage)
    keys = order_keys(document, table)
    try:
        position = decode_cursor(document, keys)
    except ValueError as error:
        raise guardrails.rejection(semantics.CURSOR, 1, (semantics.CURSOR_PROBLEM,)) from error
    guardrails.check(semantics.CURSOR, 0)
    operands = {location: tuple(operand.value for operand in operands) for location, operands in query.operands.items()}
    return ValidatedQuery(document, table, query.filters, operands, keys, position)


def _apply_rule(rule: Rule, query: ResolvedQuery, guardrails: Guardrails) -> Violation | None:
    measurement = rule.measure(query)
    return guardrails.measure(rule, measurement.actual, measurement.problems)

"""Validate a document against all rules: a pure function that returns a validated query or a rejection, always with
the measured values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import FieldProblem, QueryRefusal, ReelmillError
from service.guard.document import Document
from service.guard.filters import filter_tree
from service.guard.pagination import CURSOR
from service.guard.rules import semantics, sizes
from service.guard.rules.rule import Limit, ResolvedQuery, Rule
from service.guard.schema import Tables
from service.guard.settings import GuardSettings

# A stage is measured when nothing was wrong in those before: sizes first, so that no rule has much to look at.
RULE_STAGES: tuple[tuple[Rule, ...], ...] = (
    (sizes.DEPTH, sizes.CONDITIONS, sizes.LIST_VALUES, sizes.VALUE_BYTES, sizes.NAMES, sizes.ROWS),
    (
        semantics.COLUMNS,
        semantics.OPERATORS,
        semantics.VALUES,
        semantics.SHAPE,
        sizes.PATTERN_LENGTH,
        sizes.PATTERN_WILDCARDS,
        sizes.PATTERN_ESCAPES,
    ),
    (CURSOR,),
)

MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """What a rule measured."""

    rule: str
    limit: int
    actual: int


@dataclass(frozen=True, slots=True)
class Violation:
    """A figure above its limit: where, and what to ask instead."""

    usage: LimitUsage
    suggestion: str
    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class ValidatedQuery:
    """May be compiled and run."""

    query: ResolvedQuery
    limit_usage: tuple[LimitUsage, ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """At least one objection."""

    limit_usage: tuple[LimitUsage, ...]
    violations: tuple[Violation, ...]


class QueryRejected(Exception):
    """A refusal on its way out, with the error it becomes."""

    def __init__(self, rejection: Rejection, error: type[ReelmillError] = QueryRefusal) -> None:
        super().__init__(", ".join(objection.usage.rule for objection in rejection.violations))
        self.rejection, self.error = rejection, error


def validate(document: Document, tables: Tables, settings: GuardSettings) -> ValidatedQuery | Rejection:
    """All rules of a stage are measured, so that a refusal tells all that is wrong."""
    table = tables.get(document.table)
    if table is None:
        place = semantics.unknown_table_problem(document, tables)
        return reject((), to_violation(semantics.TABLE, settings, 1, (place,)))
    case = ResolvedQuery(document, table, filter_tree(document), settings)
    figures: tuple[LimitUsage, ...] = ()
    for stage in RULE_STAGES:
        measured, objections = _check_rules(case, stage)
        figures = (*figures, *measured)
        if objections:
            return Rejection(figures, objections)
    return ValidatedQuery(case, figures)


def to_violation(
    limit: Limit, settings: GuardSettings, actual: int, problems: tuple[FieldProblem, ...] = ()
) -> Violation:
    """The objection to a figure above its limit; the whole document is the place unless others are given."""
    where = problems or (FieldProblem(limit.suggestion, limit.name, pointer="#"),)
    return Violation(LimitUsage(limit.name, limit.bound(settings), actual), limit.suggestion, where)


def reject(limit_usage: tuple[LimitUsage, ...], violation: Violation) -> Rejection:
    """A refusal for one reason, behind figures that were good."""
    return Rejection((*limit_usage, violation.usage), (violation,))


def to_problem_error(rejected: QueryRejected) -> ReelmillError:
    """The error that a caller reads: each rule with limit, actual figure and suggestion, and each place."""
    refused = rejected.rejection
    first = refused.violations[0]
    guardrails = [_to_guardrail(objection) for objection in refused.violations]
    places = tuple(place for objection in refused.violations for place in objection.problems)
    return rejected.error(_summarize(first), places[:MAX_PROBLEMS], extensions={"guardrails": guardrails})


def _summarize(violation: Violation) -> str:
    figure = violation.usage
    if figure.limit == 0:
        return f"{figure.rule}: {violation.problems[0].detail}"
    return f"{figure.rule}: {figure.actual} is over the limit of {figure.limit}; {violation.suggestion}"


def _to_guardrail(violation: Violation) -> dict[str, object]:
    figure = violation.usage
    return {
        "rule": figure.rule,
        "limit": figure.limit,
        "actual": figure.actual,
        "suggestion": violation.suggestion,
    }


def _check_rules(query: ResolvedQuery, rules: Sequence[Rule]) -> tuple[tuple[LimitUsage, ...], tuple[Violation, ...]]:
    figures, objections = [], []
    for rule in rules:
        measure, limit = rule.measure(query), rule.bound(query.settings)
        figures.append(LimitUsage(rule.name, limit, measure.actual))
        if measure.actual > limit:
            objections.append(to_violation(rule, query.settings, measure.actual, measure.problems))
    return tuple(figures), tuple(objections)

"""The judgement over a document: pure, total, and always with figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import FieldProblem, ReelmillError, Refused
from service.guard.cursor import CURSOR
from service.guard.document import Document
from service.guard.filters import tree
from service.guard.rules import names, patterns, shape, sizes, types
from service.guard.rules.rule import Case, Limit, Rule
from service.guard.settings import GuardSettings
from service.guard.tables import Tables

STAGES: tuple[tuple[Rule, ...], ...] = (
    (sizes.DEPTH, sizes.CONDITIONS, sizes.LISTED, sizes.VALUE_BYTES, sizes.NAMES, sizes.ROWS),
    (
        names.COLUMNS,
        types.OPERATORS,
        types.VALUES,
        shape.SHAPE,
        patterns.LENGTH,
        patterns.WILDCARDS,
        patterns.ESCAPES,
    ),
    (CURSOR,),
)
"""A stage is measured when nothing was wrong in those before: sizes first, so that no rule has much to look at."""

MAX_PLACES = 50


@dataclass(frozen=True, slots=True)
class Figure:
    """What a rule measured."""

    rule: str
    limit: int
    actual: int


@dataclass(frozen=True, slots=True)
class Objection:
    """A figure above its limit: where, and what to ask instead."""

    figure: Figure
    suggestion: str
    places: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class Allow:
    """May be compiled and run."""

    case: Case
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """At least one objection."""

    figures: tuple[Figure, ...]
    objections: tuple[Objection, ...]


class Objected(Exception):
    """A refusal on its way out, with the error it becomes."""

    def __init__(self, refused: Refuse, error: type[ReelmillError] = Refused) -> None:
        super().__init__(", ".join(objection.figure.rule for objection in refused.objections))
        self.refused, self.error = refused, error


def judge(document: Document, tables: Tables, settings: GuardSettings) -> Allow | Refuse:
    """All rules of a stage are measured, so that a refusal tells all that is wrong."""
    table = tables.get(document.table)
    if table is None:
        place = names.unknown_table(document, tables)
        return refuse((), over(names.TABLE, settings, 1, (place,)))
    case = Case(document, table, tree(document), settings)
    figures: tuple[Figure, ...] = ()
    for stage in STAGES:
        measured, objections = _measured(case, stage)
        figures = (*figures, *measured)
        if objections:
            return Refuse(figures, objections)
    return Allow(case, figures)


def over(limit: Limit, settings: GuardSettings, actual: int, places: tuple[FieldProblem, ...] = ()) -> Objection:
    """The objection to a figure above its limit; the whole document is the place unless others are given."""
    where = places or (FieldProblem(limit.suggestion, limit.name, pointer="#"),)
    return Objection(Figure(limit.name, limit.of(settings), actual), limit.suggestion, where)


def refuse(figures: tuple[Figure, ...], objection: Objection) -> Refuse:
    """A refusal for one reason, behind figures that were good."""
    return Refuse((*figures, objection.figure), (objection,))


def told(objected: Objected) -> ReelmillError:
    """The error that a caller reads: each rule with limit, actual figure and suggestion, and each place."""
    refused = objected.refused
    first = refused.objections[0]
    guardrails = [_guardrail(objection) for objection in refused.objections]
    places = tuple(place for objection in refused.objections for place in objection.places)
    return objected.error(_summary(first), places[:MAX_PLACES], extensions={"guardrails": guardrails})


def _summary(objection: Objection) -> str:
    figure = objection.figure
    if figure.limit == 0:
        return f"{figure.rule}: {objection.places[0].detail}"
    return f"{figure.rule}: {figure.actual} is over the limit of {figure.limit}; {objection.suggestion}"


def _guardrail(objection: Objection) -> dict[str, object]:
    figure = objection.figure
    return {
        "rule": figure.rule,
        "limit": figure.limit,
        "actual": figure.actual,
        "suggestion": objection.suggestion,
    }


def _measured(case: Case, rules: Sequence[Rule]) -> tuple[tuple[Figure, ...], tuple[Objection, ...]]:
    figures, objections = [], []
    for rule in rules:
        measure, limit = rule.measure(case), rule.of(case.settings)
        figures.append(Figure(rule.name, limit, measure.actual))
        if measure.actual > limit:
            objections.append(over(rule, case.settings, measure.actual, measure.places))
    return tuple(figures), tuple(objections)

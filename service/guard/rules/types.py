"""Operators and values must suit the kind of the column."""

from collections.abc import Iterator
from typing import Any

from service.errors import FieldProblem
from service.guard.filters import Leaf
from service.guard.kinds import BOOLEAN, TEXT, Kind
from service.guard.rules.rule import Case, Measure, Rule, counted, none, values_of

LISTS = ("in", "not_in", "between")


def bound_kind(leaf: Leaf, column: Kind) -> Kind:
    """The kind of the value that a condition takes."""
    if leaf.op == "is_null":
        return BOOLEAN
    return TEXT if leaf.op in ("like", "ilike", "starts_with") else column


def _operators(case: Case) -> Measure:
    return counted(_misfits(case))


def _misfits(case: Case) -> Iterator[FieldProblem]:
    for leaf, kind in _typed(case):
        if leaf.op not in kind.operators:
            choices = ", ".join(kind.operators)
            yield FieldProblem(f"a column of type {kind.name} has {choices}", "operator", pointer=leaf.pointer("op"))


def _values(case: Case) -> Measure:
    return counted(_wrong_values(case))


def _wrong_values(case: Case) -> Iterator[FieldProblem]:
    for leaf, kind in _typed(case):
        if leaf.op not in kind.operators:
            continue
        if leaf.op in LISTS and not _is_list(leaf.op, leaf.value):
            what = "a list of two values" if leaf.op == "between" else "a list"
            yield FieldProblem(f"must be {what}", "value", pointer=leaf.pointer("value"))
            continue
        for at, value in values_of(leaf):
            if reason := _refusal(bound_kind(leaf, kind), value):
                yield FieldProblem(reason, "value", pointer=at)


def _is_list(op: str, value: Any) -> bool:
    return isinstance(value, list) and (op != "between" or len(value) == 2)


def _refusal(kind: Kind, value: Any) -> str | None:
    if value is None:
        return "null cannot be compared: use is_null"
    try:
        kind.takes(value)
    except ValueError as error:
        return str(error)
    return None


def _typed(case: Case) -> Iterator[tuple[Leaf, Kind]]:
    for leaf in case.conditions:
        if column := case.table.columns.get(leaf.column):
            yield leaf, column.kind


OPERATORS = Rule(
    "operators",
    "operators that the type of their column does not have",
    "use the operators that GET /api/database/tables tells for the column",
    none,
    _operators,
)
VALUES = Rule(
    "values",
    "values that do not suit the type of their column",
    "send the value in the JSON type of the column",
    none,
    _values,
)

"""Operators and values must suit the kind of the column."""

from collections.abc import Iterator
from typing import Any

from service.errors import FieldProblem
from service.guard.filters import Leaf
from service.guard.kinds import BOOLEAN_TYPE, TEXT_TYPE, ColumnType
from service.guard.rules.rule import Measurement, ResolvedQuery, Rule, count_problems, operand_values, zero

LIST_OPERATORS = ("in", "not_in", "between")


def operand_type(leaf: Leaf, column: ColumnType) -> ColumnType:
    """The kind of the value that a condition takes."""
    if leaf.op == "is_null":
        return BOOLEAN_TYPE
    return TEXT_TYPE if leaf.op in ("like", "ilike", "starts_with") else column


def _check_operators(query: ResolvedQuery) -> Measurement:
    return count_problems(_operator_problems(query))


def _operator_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for leaf, kind in _typed_conditions(query):
        if leaf.op not in kind.operators:
            choices = ", ".join(kind.operators)
            yield FieldProblem(f"a column of type {kind.name} has {choices}", "operator", pointer=leaf.pointer("op"))


def _check_values(query: ResolvedQuery) -> Measurement:
    return count_problems(_value_problems(query))


def _value_problems(query: ResolvedQuery) -> Iterator[FieldProblem]:
    for leaf, kind in _typed_conditions(query):
        if leaf.op not in kind.operators:
            continue
        if leaf.op in LIST_OPERATORS and not _is_list(leaf.op, leaf.value):
            what = "a list of two values" if leaf.op == "between" else "a list"
            yield FieldProblem(f"must be {what}", "value", pointer=leaf.pointer("value"))
            continue
        for at, value in operand_values(leaf):
            if reason := _value_error(operand_type(leaf, kind), value):
                yield FieldProblem(reason, "value", pointer=at)


def _is_list(op: str, value: Any) -> bool:
    return isinstance(value, list) and (op != "between" or len(value) == 2)


def _value_error(column_type: ColumnType, value: Any) -> str | None:
    if value is None:
        return "null cannot be compared: use is_null"
    try:
        column_type.to_sql(value)
    except ValueError as error:
        return str(error)
    return None


def _typed_conditions(query: ResolvedQuery) -> Iterator[tuple[Leaf, ColumnType]]:
    for leaf in query.conditions:
        if column := query.table.columns.get(leaf.column):
            yield leaf, column.type


OPERATORS = Rule(
    "operators",
    "operators that the type of their column does not have",
    "use the operators that GET /api/database/tables tells for the column",
    zero,
    _check_operators,
)
VALUES = Rule(
    "values",
    "values that do not suit the type of their column",
    "send the value in the JSON type of the column",
    zero,
    _check_values,
)

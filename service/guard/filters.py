"""The filters of a query as a tree whose nodes know their JSON pointer in the request, and the values of its conditions
as PostgreSQL takes them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from urllib.parse import quote

from service.guard.document import AllOf, AnyOf, Condition, Document, Filter, Not, Operator
from service.guard.schema import ColumnType, TableDescription, operand_type

# What a URI fragment (RFC 3986) may hold besides letters, digits, `-._~` and slashes.
POINTER_SAFE = "!$&'()*+,;=:@"
LIST_OPERATORS = ("in", "not_in", "between")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One condition. `location` and the pointers of its parts are RFC 6901 fragments (`#/filters/0/value`)."""

    column: str
    op: Operator
    value: Any
    location: str
    shorthand: bool = False

    def pointer(self, part: Literal["column", "op", "value"]) -> str:
        """The pointer of one part; in the shorthand, all parts share one."""
        return self.location if self.shorthand else f"{self.location}/{part}"

    def values(self) -> list[tuple[str, Any]]:
        """(pointer, value) of every single value that the condition compares with."""
        start = self.pointer("value")
        if self.op in LIST_OPERATORS and isinstance(self.value, list):
            return [(f"{start}/{number}", value) for number, value in enumerate(self.value)]
        return [(start, self.value)]


@dataclass(frozen=True, slots=True)
class Branch:
    """A group; `not` has one child."""

    kind: Literal["all", "any", "not"]
    children: tuple["Node", ...]
    location: str


Node = Leaf | Branch


def filter_tree(document: Document) -> Branch:
    """All filters under one `all`, which may be empty."""
    filters, root = document.filters, "#/filters"
    if isinstance(filters, dict):
        return Branch(
            "all", tuple(_shorthand_condition(column, value, root) for column, value in filters.items()), root
        )
    if isinstance(filters, tuple):
        return Branch("all", _child_nodes(filters, root), root)
    return Branch("all", (_to_node(filters, root),), root)


def leaves(root: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Every condition and every empty group, with the number of groups around it in the document."""
    if isinstance(root, Leaf) or not root.children:
        yield depth, root
        return
    for child in root.children:
        yield from leaves(child, depth + 1)


def _shorthand_condition(column: str, value: Any, location: str) -> Node:
    pointer = f"{location}/{quote(column.replace('~', '~0').replace('/', '~1'), safe=POINTER_SAFE)}"
    if value is None:
        return Leaf(column, "is_null", True, pointer, shorthand=True)
    return Leaf(column, "eq", value, pointer, shorthand=True)


def _child_nodes(filters: tuple[Filter, ...], location: str) -> tuple[Node, ...]:
    return tuple(_to_node(item, f"{location}/{number}") for number, item in enumerate(filters))


def _to_node(item: Filter, location: str) -> Node:
    match item:
        case Condition(column=column, op=op, value=value):
            return Leaf(column, op, True if op == "is_null" and value is None else value, location)
        case AllOf(all=children):
            return Branch("all", _child_nodes(children, f"{location}/all"), f"{location}/all")
        case AnyOf(any=children):
            return Branch("any", _child_nodes(children, f"{location}/any"), f"{location}/any")
        case Not(negated=child):
            return Branch("not", (_to_node(child, f"{location}/not"),), f"{location}/not")


@dataclass(frozen=True, slots=True)
class Operand:
    """A value of a condition. Either `value` can be bound as a parameter, or `error` says why the value is wrong."""

    pointer: str
    value: Any = None
    error: str | None = None


@dataclass(frozen=True)
class ResolvedQuery:
    """A document whose table exists; its columns, operators and values may still be wrong."""

    document: Document
    table: TableDescription
    filters: Branch

    @cached_property
    def conditions(self) -> tuple[Leaf, ...]:
        return tuple(node for _, node in leaves(self.filters) if isinstance(node, Leaf))

    @cached_property
    def operands(self) -> Mapping[str, tuple[Operand, ...]]:
        """The converted values by the location of their condition; only where column and operator are right."""
        return {
            leaf.location: _to_operands(leaf, column.type)
            for leaf in self.conditions
            if (column := self.table.columns.get(leaf.column)) and leaf.op in column.type.operators
        }


def _to_operands(leaf: Leaf, column: ColumnType) -> tuple[Operand, ...]:
    if leaf.op in LIST_OPERATORS:
        expected = "a list of two values" if leaf.op == "between" else "a list"
        if not isinstance(leaf.value, list) or (leaf.op == "between" and len(leaf.value) != 2):
            return (Operand(leaf.pointer("value"), error=f"must be {expected}"),)
    to_sql = operand_type(leaf.op, column).to_sql
    operands = []
    for pointer, value in leaf.values():
        if value is None:
            operands.append(Operand(pointer, error="null cannot be compared: use is_null"))
            continue
        try:
            operands.append(Operand(pointer, to_sql(value)))
        except ValueError as error:
            operands.append(Operand(pointer, error=str(error)))
    return tuple(operands)

"""The filters of a query as a tree whose nodes know their JSON pointer in the request."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from service.guard.document import AllOf, AnyOf, Condition, Document, Filter, Not, Operator

# What a URI fragment (RFC 3986) may hold besides letters, digits, `-._~` and slashes.
POINTER_SAFE = "!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One condition. The pointers of its parts are RFC 6901 fragments (`#/filters/0/value`)."""

    column: str
    op: Operator
    value: Any
    location: str
    shorthand: bool = False

    def pointer(self, part: Literal["column", "op", "value"]) -> str:
        """In the shorthand all parts are in one place."""
        return self.location if self.shorthand else f"{self.location}/{part}"


@dataclass(frozen=True, slots=True)
class Branch:
    """A group; `not` has one child."""

    kind: Literal["all", "any", "not"]
    children: tuple["Node", ...]
    location: str


Node = Leaf | Branch


def filter_tree(document: Document) -> Branch:
    """All filters under one `all`, which is there even when there are none."""
    filters, at = document.filters, "#/filters"
    if isinstance(filters, dict):
        return Branch("all", tuple(_shorthand_condition(column, value, at) for column, value in filters.items()), at)
    if isinstance(filters, tuple):
        return Branch("all", _child_nodes(filters, at), at)
    return Branch("all", (_to_node(filters, at),), at)


def leaves(root: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Every leaf, and every branch without children, with the number of groups that the document put around it."""
    if isinstance(root, Leaf) or not root.children:
        yield depth, root
        return
    for child in root.children:
        yield from leaves(child, depth + 1)


def _shorthand_condition(column: str, value: Any, location: str) -> Leaf:
    place = f"{location}/{quote(column.replace('~', '~0').replace('/', '~1'), safe=POINTER_SAFE)}"
    return Leaf(column, "is_null" if value is None else "eq", True if value is None else value, place, shorthand=True)


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

"""The filters of a document as one tree, in which every node knows its place in the request."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from service.guard.document import AllOf, AnyOf, Condition, Document, Filter, Not, Op

POINTER_SAFE = "!$&'()*+,;=:@"
"""What a URI fragment (RFC 3986) may hold besides letters, digits, `-._~` and slashes."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One condition. The pointers of its parts are RFC 6901 fragments (`#/filters/0/value`)."""

    column: str
    op: Op
    value: Any
    at: str
    shorthand: bool = False

    def pointer(self, part: Literal["column", "op", "value"]) -> str:
        """In the shorthand all parts are in one place."""
        return self.at if self.shorthand else f"{self.at}/{part}"


@dataclass(frozen=True, slots=True)
class Branch:
    """A group; `not` has one child."""

    kind: Literal["all", "any", "not"]
    children: tuple["Node", ...]
    at: str


Node = Leaf | Branch


def tree(document: Document) -> Branch:
    """All filters under one `all`, which is there even when there are none."""
    filters, at = document.filters, "#/filters"
    if isinstance(filters, dict):
        return Branch("all", tuple(_short(column, value, at) for column, value in filters.items()), at)
    if isinstance(filters, tuple):
        return Branch("all", _children(filters, at), at)
    return Branch("all", (_node(filters, at),), at)


def leaves(root: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Every leaf, and every branch without children, with the number of groups that the document put around it."""
    if isinstance(root, Leaf) or not root.children:
        yield depth, root
        return
    for child in root.children:
        yield from leaves(child, depth + 1)


def _short(column: str, value: Any, at: str) -> Leaf:
    place = f"{at}/{quote(column.replace('~', '~0').replace('/', '~1'), safe=POINTER_SAFE)}"
    return Leaf(column, "is_null" if value is None else "eq", True if value is None else value, place, shorthand=True)


def _children(filters: tuple[Filter, ...], at: str) -> tuple[Node, ...]:
    return tuple(_node(item, f"{at}/{number}") for number, item in enumerate(filters))


def _node(item: Filter, at: str) -> Node:
    match item:
        case Condition(column=column, op=op, value=value):
            return Leaf(column, op, True if op == "is_null" and value is None else value, at)
        case AllOf(all=children):
            return Branch("all", _children(children, f"{at}/all"), f"{at}/all")
        case AnyOf(any=children):
            return Branch("any", _children(children, f"{at}/any"), f"{at}/any")
        case Not(negated=child):
            return Branch("not", (_node(child, f"{at}/not"),), f"{at}/not")

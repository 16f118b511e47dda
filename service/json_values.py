"""Text and JSON values that PostgreSQL can store."""

from collections.abc import Iterator
from typing import Any


def storable_text(value: str) -> str:
    """`value`, unless it has NUL characters or lone surrogates, which PostgreSQL refuses. Raises ValueError."""
    if "\0" in value:
        raise ValueError("NUL characters cannot be stored")
    value.encode()
    return value


def walk_json(value: Any) -> Iterator[tuple[int, Any]]:
    """Each part of a JSON value, keys included, with the number of objects and lists around it.

    Lazy and without recursion: callers can stop at a depth that they refuse.
    """
    pending = [(0, value)]
    while pending:
        depth, part = pending.pop()
        yield depth, part
        if isinstance(part, dict):
            pending += [(depth + 1, inner) for inner in (*part.keys(), *part.values())]
        elif isinstance(part, list):
            pending += [(depth + 1, inner) for inner in part]

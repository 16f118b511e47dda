"""The permissions a token can carry in its `scope` claim."""

from typing import Literal, get_args

Scope = Literal[
    "catalog:read",
    "catalog:write",
    "videos:read",
    "videos:render",
    "query:run",
    "agent:ask",
    "ops:read",
    "admin",
]

ADMIN: Scope = "admin"
ALL_SCOPES: tuple[Scope, ...] = get_args(Scope)


def allows(granted: frozenset[str], required: Scope) -> bool:
    """Whether the scopes of a token include `wanted`; `admin` implies all."""
    return required in granted or ADMIN in granted

"""Hooks that schemathesis loads."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-tar")
def send_as_it_is(_context: Any, value: Any) -> Any:
    """Bytes, which are hardly ever an archive."""
    return value.data if hasattr(value, "data") else value


@schemathesis.hook
def before_call(_context: Any, case: Any, _arguments: Any) -> None:
    """Keep everything private, so that reading another user's data is always a fault."""
    if isinstance(case.body, dict) and case.body.get("visibility") == "public":
        case.body = case.body | {"visibility": "shared"}

"""Secrets are taken out of every log line, by key and by shape."""

import re
from typing import Any

from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"authorization|secret|password|passwd|cookie|api_?key|access_?key|token$|signature", re.I)
_SECRET_VALUE = re.compile(
    r"(?i:bearer)\s+[\w.~+/=-]{12,}"  # a bearer token
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT anywhere
    r"|(?<=://)[^\s/@]*:[^\s/@]*(?=@)"  # user:password of a URL
    r"|(?<=X-Amz-Signature=)\w+"  # what makes a presigned URL work
)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor; walks nested dicts, lists and strings."""
    return {key: REDACTED if _SECRET_NAME.search(key) else redact_value(value) for key, value in event.items()}


def redact_value(value: Any) -> Any:
    """The value without what looks like a secret."""
    if isinstance(value, str):
        return _SECRET_VALUE.sub(REDACTED, value) if _may_hold_secret(value) else value
    if isinstance(value, dict):
        return {key: REDACTED if _SECRET_NAME.search(str(key)) else redact_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    return value


def _may_hold_secret(text: str) -> bool:
    """Whether any of the shapes may be in it: a search for what they all need costs far less than theirs."""
    return "eyJ" in text or "://" in text or "X-Amz-Signature" in text or "bearer" in text.lower()

"""Which relative paths every object store and file system takes."""

import re

MAX_PATH_BYTES = 700
_SURROGATES, _FORBIDDEN = re.compile("[\ud800-\udfff]"), re.compile(r"[\x00-\x1f\x7f\\]")


def safe_path(path: str) -> str:
    """Check that a relative path is valid in every object store and file system. Raises ValueError."""
    if len(path) > MAX_PATH_BYTES:
        raise ValueError("longer than object stores and file systems take")
    parts = path.split("/")
    if _SURROGATES.search(path):
        raise ValueError("it is not in UTF-8")
    if any(part in (".", "..", "") for part in parts):
        raise ValueError("parts between slashes must not be empty, '.' or '..'")
    if _FORBIDDEN.search(path):
        raise ValueError("control characters and backslashes are not allowed")
    if any(len(part.encode()) > 255 for part in parts) or len(path.encode()) > MAX_PATH_BYTES:
        raise ValueError("longer than object stores and file systems take")
    return path

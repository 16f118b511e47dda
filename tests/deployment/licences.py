"""What deploy/licences.toml and deploy/bundled.toml say: licences of distributions, and the native libraries inside them."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from typing import Any

from tests.deployment.lock_file import DEPLOY


@dataclass(frozen=True)
class BundledLibrary:
    """A native library inside a wheel: its files are names without hash and number; none if it is linked statically."""

    name: str
    licence: str
    files: tuple[str, ...]
    version: str | None = None


@cache
def _document(name: str) -> dict[str, Any]:
    return tomllib.loads((DEPLOY / name).read_text())


def distribution_licences() -> dict[str, str]:
    """Distribution -> SPDX expression."""
    return dict(_document("licences.toml")["distributions"])


def bundled_libraries() -> dict[str, list[BundledLibrary]]:
    """Distribution -> libraries inside its wheel."""
    return {
        distribution: [
            BundledLibrary(name, entry["licence"], tuple(entry["files"]), entry.get("version"))
            for name, entry in libraries.items()
        ]
        for distribution, libraries in _document("bundled.toml").items()
    }


def unreviewed_licences(distribution: str, expression: str) -> Iterator[str]:
    """The parts of an SPDX expression (without parentheses) that nobody has accepted for this distribution.

    Of alternatives one is enough.
    """
    document = _document("licences.toml")
    allowed = {name for name, who in document["reviewed"].items() if any(fnmatch(distribution, each) for each in who)}
    allowed |= set(document["accepted"])
    for part in expression.split(" AND "):
        if not allowed & set(part.split(" OR ")):
            yield part

"""Names in the order people count: frame2 before frame10."""

import re

_DIGITS = re.compile(r"[0-9]+")
# The largest number a `bigint` column holds.
LARGEST = 2**63 - 1


def natural_key(name: str) -> str:
    """A text whose code-point order (PostgreSQL: COLLATE "C") is the natural order of names.

    Each run of ASCII digits loses its leading zeros and gains its length in four digits: 7 -> "00017", 12 -> "000212".
    Names that differ only in leading zeros have equal keys: order those by the name itself.
    """
    return _DIGITS.sub(_sortable, name)


def _sortable(run: re.Match[str]) -> str:
    digits = run[0].lstrip("0") or "0"
    return f"{len(digits):04d}{digits}"


def trailing_number(name: str) -> int | None:
    """The last number in the stem of a path's last part, or None: "cam1/img_0042.jpg" -> 42, "shot.0042" -> 42."""
    base = name.rpartition("/")[2]
    stem, dot, extension = base.rpartition(".")
    if not dot or extension.isdecimal():
        stem = base
    runs = _DIGITS.findall(stem)
    significant = runs[-1].lstrip("0") if runs else ""
    if not runs or len(significant) > 19:
        return None
    number = int(significant or "0")
    return number if number <= LARGEST else None

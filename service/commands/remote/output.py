"""What the commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

# Into a pipe or a file, a row is one line however long it is.
WIDTH_OF_A_FILE = 240
STYLES = {
    **dict.fromkeys(("succeeded", "ready", "active", "ok"), "green"),
    **dict.fromkeys(("failed", "lost", "quarantined"), "red"),
    **dict.fromkeys(("queued", "running", "scanning", "cordoned", "draining", "degraded"), "yellow"),
    **dict.fromkeys(("cancelled", "empty"), "dim"),
}


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], *, as_json: bool, none: str) -> None:
    """As a table of these columns, or whole as JSON. `none` is said, on stderr, where there are no rows."""
    if as_json:
        print_json([dict(row) for row in rows])
        return
    if not rows:
        print(none, file=sys.stderr)
        return
    names = tuple(columns)
    grid = Grid(*(name.replace("_", " ") for name in names), box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*(_cell(row.get(name)) for name in names))
    console().print(grid)


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing, a field in each line."""
    if as_json:
        print_json(dict(fields))
        return
    grid = Grid(box=None, pad_edge=False, show_header=False)
    for name, value in fields.items():
        if value not in (None, [], {}, ""):
            grid.add_row(name.replace("_", " "), _cell(value))
    console().print(grid)


def _cell(value: Any) -> str:
    text = _text(value)
    style = STYLES.get(text)
    return f"[{style}]{text}[/]" if style else escape(text)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, str):
        return _time(value)
    return json.dumps(value, ensure_ascii=False)


def _time(text: str) -> str:
    """Times of the API without fractions, in the zone of this machine; other text as it is, in one line."""
    if len(text) > 18 and text[4:5] == "-" and text[10:11] == "T":
        try:
            return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        except ValueError:
            pass
    return " ".join(text.split())

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
# From here on, floats are shown without fractions.
LARGE = 1_000
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
        grid.add_row(*(_cell(name, row.get(name)) for name in names))
    console().print(grid)


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing, a field in each line."""
    if as_json:
        print_json(dict(fields))
        return
    grid = Grid(box=None, pad_edge=False, show_header=False)
    for name, value in fields.items():
        if value not in (None, [], {}, ""):
            grid.add_row(name.replace("_", " "), _cell(name, value))
    console().print(grid)


def _cell(name: str, value: Any) -> str:
    text = _time(value) if _is_time(name) and isinstance(value, str) else _text(value)
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
        return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:,.4g}"
    if isinstance(value, str):
        return " ".join(value.split())
    return json.dumps(value, ensure_ascii=False)


def _is_time(column: str) -> bool:
    """Whether it has times of the service. Those of a camera's clock are in no zone that is known: they stay."""
    return column.endswith("_at") and not column.endswith("captured_at")


def _time(text: str) -> str:
    """A time of the service without fractions, in the zone of this machine, which is named."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return _text(text)
    return _text(text) if time.tzinfo is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")

"""Answers made without a model, and what is left of the words of one."""

import json
import re
from typing import Any

from service.agent.models import UnusableOutput
from service.guard.ask import QueryResult

MAX_ANSWER_CHARACTERS, MAX_LISTED_ROWS, MAX_LISTED_CELL_CHARACTERS = 4000, 5, 80
UNPRINTABLE_CHARACTERS = re.compile(
    r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
HELP_TEXT = (
    "I look up experiments, datasets, frames and renders, and prepare render requests. For instance:"
    ' "latest experiments", "how many frames has NAME", "list datasets of NAME",'
    ' "make a video of NAME with every 4th frame at 24 fps".'
)
NOT_UNDERSTOOD_TEXT = "I could not turn this question into a query that is allowed. " + HELP_TEXT


def require_text(output: str) -> str:
    """A model's words, tidy. Raises Unusable when nothing is left."""
    if text := sanitize(output):
        return text
    raise UnusableOutput("it is empty")


def sanitize(output: str) -> str:
    """Plain text of a bounded length."""
    return UNPRINTABLE_CHARACTERS.sub(" ", output).strip()[:MAX_ANSWER_CHARACTERS]


def format_rows(result: QueryResult) -> str:
    """The rows, in few words."""
    if not result.rows:
        return f"There are no such rows in {result.table}."
    shown = "; ".join(_format_row(row) for row in result.rows[:MAX_LISTED_ROWS])
    if len(result.rows) == 1 and not result.truncated:
        return f"{shown}."
    count = f"{'At least ' if result.truncated else ''}{len(result.rows):,} rows of {result.table}"
    first = ", the first of them" if len(result.rows) > MAX_LISTED_ROWS else ""
    return f"{count}{first}: {shown}."


def _format_row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_format_cell(value)}" for name, value in row.items())


def _format_cell(value: Any) -> str:
    if value is None:
        return "not set"
    text = sanitize(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_LISTED_CELL_CHARACTERS else f"{text[:MAX_LISTED_CELL_CHARACTERS]}…"

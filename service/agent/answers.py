"""The texts of answers: what a model has written, cleaned, and what is said without one."""

import json
import re
from typing import Any

from service.agent.ollama_client import UnusableOutput
from service.guard.guard import QueryResult

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
    """A model's output as plain text. Raises UnusableOutput if nothing is left."""
    if text := sanitize(output):
        return text
    raise UnusableOutput("it is empty")


def sanitize(output: str) -> str:
    """Remove unprintable characters and limit the length."""
    return UNPRINTABLE_CHARACTERS.sub(" ", output).strip()[:MAX_ANSWER_CHARACTERS]


def format_rows(result: QueryResult) -> str:
    """A short text that lists the first rows."""
    if not result.rows:
        return f"There are no such rows in {result.table}."
    listed = "; ".join(
        ", ".join(f"{name} {_format_cell(value)}" for name, value in row.items())
        for row in result.rows[:MAX_LISTED_ROWS]
    )
    if len(result.rows) == 1 and not result.truncated:
        return f"{listed}."
    count = f"{'At least ' if result.truncated else ''}{len(result.rows):,} rows of {result.table}"
    first = ", the first of them" if len(result.rows) > MAX_LISTED_ROWS else ""
    return f"{count}{first}: {listed}."


def _format_cell(value: Any) -> str:
    if value is None:
        return "not set"
    text = sanitize(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= MAX_LISTED_CELL_CHARACTERS else f"{text[:MAX_LISTED_CELL_CHARACTERS]}…"

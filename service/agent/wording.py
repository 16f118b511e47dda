"""Answers made without a model, and what is left of the words of one."""

import json
import re
from typing import Any

from service.agent.models import Unusable
from service.guard.ask import Answer

MAX_CHARACTERS, ROWS, CELL_CHARACTERS = 4000, 5, 80
UNPRINTABLE = re.compile(r"[^\S\n ]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
HELP = (
    "I look up experiments, datasets, frames and renders, and prepare render requests. For instance:"
    ' "latest experiments", "how many frames has NAME", "list datasets of NAME",'
    ' "make a video of NAME with every 4th frame at 24 fps".'
)
NOT_UNDERSTOOD = "I could not turn this question into a query that is allowed. " + HELP


def tidied(said: str) -> str:
    """A model's words, tidy. Raises Unusable when nothing is left."""
    if text := tidy(said):
        return text
    raise Unusable("it is empty")


def tidy(said: str) -> str:
    """Plain text of a bounded length."""
    return UNPRINTABLE.sub(" ", said).strip()[:MAX_CHARACTERS]


def plainly(answer: Answer) -> str:
    """The rows, in few words."""
    if not answer.rows:
        return f"There are no such rows in {answer.table}."
    shown = "; ".join(_row(row) for row in answer.rows[:ROWS])
    if len(answer.rows) == 1 and not answer.truncated:
        return f"{shown}."
    count = f"{'At least ' if answer.truncated else ''}{len(answer.rows):,} rows of {answer.table}"
    first = ", the first of them" if len(answer.rows) > ROWS else ""
    return f"{count}{first}: {shown}."


def _row(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in row.items())


def _cell(value: Any) -> str:
    if value is None:
        return "not set"
    text = tidy(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= CELL_CHARACTERS else f"{text[:CELL_CHARACTERS]}…"

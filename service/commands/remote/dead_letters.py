"""`reelmill dead-letters`: what has failed for good; retry or dismiss it."""

from typing import Any, Literal

from service.commands.remote.connection import open_mill
from service.commands.remote.output import print_json, print_rows
from service.config import Settings

PATH, PAGE_SIZE = "/api/dead-letters", 200
COLUMNS = ("id", "failed_at", "task", "of", "code", "reason")


async def show_dead_letters(settings: Settings, *, of_all: bool, as_json: bool) -> None:
    """Print the caller's, newest first; with `of_all` those of all callers."""
    async with open_mill(settings) as mill:
        letters = [letter async for letter in mill.rows(PATH, limit=PAGE_SIZE, all=of_all)]
    rows = letters if as_json else [letter | {"of": _about(letter)} for letter in letters]
    print_rows(rows, COLUMNS, as_json=as_json, none="there are no dead letters")


async def act_on_dead_letter(
    settings: Settings, action: Literal["retry", "dismiss"], letter: str, *, as_json: bool
) -> None:
    """Raises NotFound if there is no such dead letter of the caller."""
    async with open_mill(settings) as mill:
        answer = await mill.call(f"{action}_dead_letter", letter_id=letter)
    if as_json:
        print_json(answer or {"id": letter})  # nothing is answered of one that is gone
    else:
        print(f"dead letter {letter} is {'queued again' if action == 'retry' else 'off the list'}")


def _about(letter: dict[str, Any]) -> str:
    return str(letter["job_id"] or letter["url"] or letter["dataset_id"] or "")

"""`reelmill dead-letters`: what has failed for good; retry or dismiss it."""

import sys
from typing import Any, Literal

import httpx
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from service.commands.api_client import get_with_retries, json_or_raise, open_client
from service.config import Settings

PATH, PAGE_SIZE = "/api/dead-letters", 200
# Into a pipe or a file, a row is one line however long it is.
WIDTH_OF_A_FILE = 240


async def show_dead_letters(settings: Settings, *, of_all: bool) -> None:
    """Print the caller's, newest first; with `of_all` those of all callers."""
    parameters: dict[str, str | int] = {"limit": PAGE_SIZE, "all": str(of_all).lower()}
    async with open_client(settings) as client:
        answer = await client.get(PATH, params=parameters)
        letters = json_or_raise(answer, list)
        while "next" in answer.links:
            answer = await get_with_retries(client, answer.links["next"]["url"])
            letters += json_or_raise(answer, list)
    _print_letters(letters)


async def act_on_dead_letter(settings: Settings, action: Literal["retry", "dismiss"], letter: str) -> None:
    """Raises ApiError if there is no such dead letter of the caller."""
    async with open_client(settings) as client:
        _raise_for_problem(await client.post(f"{PATH}/{letter}/{action}"))


def _raise_for_problem(answer: httpx.Response) -> None:
    if not answer.is_success:
        json_or_raise(answer)


def _print_letters(letters: list[dict[str, Any]]) -> None:
    if not letters:
        print("there are no dead letters", file=sys.stderr)
        return
    grid = Grid("id", "failed", "task", "of", "code", "reason", box=None, pad_edge=False)
    for letter in letters:
        about = letter["job_id"] or letter["url"] or letter["dataset_id"] or ""
        cells = (letter["id"], letter["failed_at"][:19], letter["task"], about, letter["code"], letter["reason"])
        grid.add_row(*(escape(str(cell)) for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, soft_wrap=True, highlight=False)
    console.print(grid)

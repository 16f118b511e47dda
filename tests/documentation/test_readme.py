"""README.md says what the code says."""

import re
import shlex
import subprocess
import sys

import pytest

from service import cli
from tests.documentation.command_table import exit_codes, group
from tests.documentation.readme import PARTS, README, read_part, render_readme
from tests.support.source_code import ROOT

TEXT = README.read_text()
REGENERATE_HINT = "run: python -m tests.documentation.readme"


def help_text(*command: str) -> str:
    """What a user reads, without the boxes and the line breaks."""
    arguments = [sys.executable, "-m", "service", *command, "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stdout).split())


def shell_lines() -> list[str]:
    """Commands in the fenced blocks, with continued lines joined."""
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def shown_commands() -> list[list[str]]:
    found = [
        match[1] for line in shell_lines() for match in re.finditer(r"(?:^|\$\(|api )reelmill ([a-z][^)#]*)", line)
    ]
    return [shlex.split(text) for text in found]


@pytest.mark.parametrize("name", sorted(PARTS))
def test_the_generated_parts_are_up_to_date(name: str) -> None:
    assert read_part(TEXT, name) == read_part(render_readme(TEXT), name), REGENERATE_HINT
    assert len(read_part(TEXT, name).splitlines()) > 4


def test_a_stale_part_would_be_noticed() -> None:
    stale = TEXT.replace("| `PORT` |", "| `PROT` |")
    assert stale != TEXT
    assert render_readme(stale) == TEXT


def test_help_names_the_same_commands_and_exit_codes() -> None:
    said = help_text()
    for name in group.commands:
        assert f"`reelmill {name}" in read_part(TEXT, "commands")
        assert re.search(rf" {name} [A-Z]", said)
    for code, meaning in exit_codes().items():
        assert f"| {code} | {meaning} |" in read_part(TEXT, "exit codes")
        assert f"{code} {meaning}" in said


def test_the_exit_codes_are_those_of_the_code() -> None:
    """0 and 2 are the command line library's own."""
    ours = {cli.FAILED, cli.UNAVAILABLE, cli.NOT_PERMITTED, cli.CONFIGURATION}
    assert ours | {0, 2} == set(exit_codes())
    assert set(cli.EXIT_CODE_BY_STATUS.values()) <= ours


@pytest.mark.parametrize("name", sorted(group.commands))
def test_help_of_a_command_shows_what_the_table_shows(name: str) -> None:
    row = re.search(rf"`reelmill {name}\b(.*?)`", read_part(TEXT, "commands"))
    assert row is not None
    said = help_text(name)
    for option in re.findall(r"--[a-z]+", row[1]):
        assert option in said


@pytest.mark.parametrize("words", shown_commands(), ids=" ".join)
def test_the_commands_that_are_shown_can_be_typed(words: list[str], tmp_path: object) -> None:
    """Parsed by the command line itself: a wrong name, option or value fails."""
    name, *rest = words
    command = group.commands[name]
    arguments = [str(tmp_path) if word.startswith("/tmp/reelmill-frames") else word for word in rest]
    command.make_context(name, arguments)


def test_commands_are_shown_at_all() -> None:
    assert {words[0] for words in shown_commands()} >= {"token", "ingest", "render"}


def test_it_starts_with_the_two_commands_and_a_picture() -> None:
    first, second = re.findall(r"^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[:2]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
    assert "POST" in second and "►" in second


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", "\n".join(shell_lines()) + TEXT)) & targets == {
        *("demo", "test", "run", "bench", "lint", "clean")
    }

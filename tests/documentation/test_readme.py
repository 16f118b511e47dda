"""README.md, docs/commands.md and docs/settings.md say what the code says."""

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service.cli import exit_codes as codes
from service.processes.app import create_app
from tests.documentation.command_table import exit_codes, group
from tests.documentation.readme import README, TABLES, read_table, render_page
from tests.routers.conftest import resources
from tests.support.processes.command import run_command
from tests.support.source_code import ROOT

TEXT = README.read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
REGENERATE_HINT = "run: python -m tests.documentation.readme"
MAX_README_LINES = 150
MAX_PICTURE_BYTES = 200_000


def help_text(*command: str) -> str:
    """What a user reads, without the boxes and the line breaks."""
    done = run_command(*command, "--help")
    assert done.returncode == 0, done.stderr
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


def shown_requests() -> list[tuple[str, str, dict[str, Any] | None]]:
    """(method, path, JSON body or None) of every curl; a shell variable in a path or body is `$name`."""
    found = []
    for line in shell_lines():
        for command in re.findall(r"curl [^|#]*", line):
            path = re.search(r'"\$api(/[^"?]*)', command)
            assert path is not None, command
            body = re.search(r"-d (?:\"((?:[^\"\\]|\\.)*)\"|'([^']*)')", command)
            text = None if body is None else (body[1] or body[2]).replace('\\"', '"')
            found.append(("post" if text else "get", path[1], None if text is None else json.loads(text)))
    return found


@cache
def openapi_document() -> dict[str, Any]:
    return create_app(resources()).openapi()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_generated_tables_are_up_to_date(name: str) -> None:
    page = TABLES[name].page
    assert page.read_text() == render_page(page.read_text(), page), REGENERATE_HINT
    assert len(read_table(name).splitlines()) > 4


def test_a_stale_table_would_be_noticed() -> None:
    page = TABLES["settings"].page
    stale = page.read_text().replace("| `PORT` |", "| `PROT` |")
    assert stale != page.read_text()
    assert render_page(stale, page) == page.read_text()


def test_help_names_the_same_commands_and_exit_codes() -> None:
    said = help_text()
    for name in group.commands:
        assert f"`reelmill {name}" in read_table("commands")
        assert re.search(rf" {name} [A-Z]", said)
    for code, meaning in exit_codes().items():
        assert f"| {code} | {meaning} |" in read_table("exit codes")
        assert f"{code} {meaning}" in said


def test_the_exit_codes_are_those_of_the_code() -> None:
    """0, 2 and 130 are the command line library's own."""
    ours = {codes.FAILED, codes.LEFT_OUT, codes.UNAVAILABLE, codes.NOT_PERMITTED, codes.CONFIGURATION}
    assert ours | {0, codes.USAGE, 130} == set(exit_codes())
    assert set(codes.EXIT_CODE_BY_STATUS.values()) <= ours


@pytest.mark.parametrize("name", sorted(group.commands))
def test_help_of_a_command_shows_what_the_table_shows(name: str) -> None:
    row = re.search(rf"`reelmill {name}\b(.*?)`", read_table("commands"))
    assert row is not None
    said = help_text(name)
    for option in re.findall(r"--[a-z]+", row[1]):
        assert option in said


@pytest.mark.parametrize("words", shown_commands(), ids=" ".join)
def test_the_commands_that_are_shown_can_be_typed(words: list[str], tmp_path: Path) -> None:
    """Parsed by the command line itself: a wrong name, option or value fails."""
    (tmp_path / "video").touch()
    name, *rest = words
    command = group.commands[name]
    places = {"/tmp/reelmill-frames": tmp_path, "/tmp/plate.mp4": tmp_path / "video"}
    places["/tmp/plate.receipt.ndjson"] = tmp_path / "video"
    command.make_context(name, [str(places.get(word, word)) for word in rest])


def test_commands_are_shown_at_all() -> None:
    assert {words[0] for words in shown_commands()} >= {"token", "ingest", "render", "verify"}


@pytest.mark.parametrize(("method", "path", "_body"), shown_requests())
def test_the_requests_that_are_shown_are_operations_of_the_api(method: str, path: str, _body: object) -> None:
    """A part of a path that the shell fills in (`$job`) stands for a path parameter."""
    shown = [re.sub(r"\$\w+", "{}", part) for part in path.split("/")]
    patterns = {re.sub(r"\{\w+\}", "{}", known): item for known, item in openapi_document()["paths"].items()}
    assert method in patterns["/".join(shown)]


def test_the_bodies_that_are_shown_have_fields_of_the_request() -> None:
    fields = set(openapi_document()["components"]["schemas"]["VideoGenerationRequest"]["properties"])
    bodies = [body for _, path, body in shown_requests() if path == "/api/videos/generate" and body]
    assert bodies
    assert {field for body in bodies for field in body} <= fields
    options = [word.partition("=")[0] for words in shown_commands() for word in words if re.match(r"\w+=", word)]
    assert options and set(options) <= fields


def test_it_starts_with_the_purpose_a_picture_and_the_two_commands() -> None:
    head = TEXT.partition("\n## ")[0]
    picture = re.search(r"!\[[^\]]+\]\(([^)]+)\)", head)
    assert picture is not None
    assert (ROOT / picture[1]).stat().st_size < MAX_PICTURE_BYTES
    block = re.search(r"^```sh\n(.*?)^```", head, re.MULTILINE | re.DOTALL)
    assert block is not None and picture.start() < block.start()
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make demo", "make test"]


def test_it_is_short() -> None:
    """Long tables and details have pages of their own."""
    assert len(TEXT.splitlines()) <= MAX_README_LINES


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = (ROOT / "docs/commands.md").read_text()
    assert {"demo", "test", "run"} <= set(re.findall(r"`make ([a-z-]+)`", commands)) <= targets
    shown = {match for line in shell_lines() for match in re.findall(r"^make ([a-z-]+)", line)}
    assert shown | set(re.findall(r"`make ([a-z-]+)`", TEXT + CONTRIBUTING)) <= targets

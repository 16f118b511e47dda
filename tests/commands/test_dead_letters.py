"""`reelmill dead-letters`: what has failed for good, of a running service."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.data.footage import frame_jpeg
from tests.support.processes import api, command
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.running_service import RunningService

SCOPES = ("videos:read", "videos:render")


def run_dead_letters(
    service: RunningService, *words: str, scopes: tuple[str, ...] = SCOPES
) -> "subprocess.CompletedProcess[str]":
    with clean_environment(REELMILL_URL=service.url, REELMILL_TOKEN=service.token("alice", scopes)):
        return command.run_command("dead-letters", *words)


def test_a_render_that_failed_is_retried_and_dismissed(
    service: RunningService, alice: httpx.Client, make_dataset: Callable[[dict[str, bytes]], dict[str, Any]]
) -> None:
    dataset = make_dataset({"0.jpg": frame_jpeg(0), "1.jpg": b"no picture"})
    job = api.render(alice, dataset, corrupt="fail")["job_id"]

    def listed(*words: str, scopes: tuple[str, ...] = SCOPES) -> list[str]:
        done = run_dead_letters(service, *words, scopes=scopes)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if job in line]

    (line,) = listed()
    assert " segment " in line and "frame 1" in line
    letter = line.split()[0]
    again = run_dead_letters(service, "retry", letter)
    assert (again.returncode, again.stdout) == (0, f"dead letter {letter} is queued again\n")
    assert api.wait_until_ended(alice, job)["status"] == "failed"
    assert len(listed("--all", scopes=(*SCOPES, "ops:read"))) == 1, "it fails again"
    dismissed = run_dead_letters(service, "dismiss", letter, "--json")
    assert (dismissed.returncode, json.loads(dismissed.stdout)) == (0, {"id": letter})
    assert listed() == []
    gone = run_dead_letters(service, "retry", letter)
    assert (gone.returncode, "no such dead letter" in gone.stderr) == (1, True)
    assert run_dead_letters(service, "--all").returncode == 77


def test_what_lacks_an_id_is_refused(service: RunningService) -> None:
    for words in (("retry",), ("dismiss", "no-id"), ("list", "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44")):
        assert run_dead_letters(service, *words).returncode == 2

"""Result rows and the facts in them."""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import av
import pytest

from benchmarks import machine
from benchmarks.record import run_to_row, write_runs
from tests.benchmarks.runs import FACTS, make_run


def test_a_row_holds_the_run_its_rate_and_the_facts() -> None:
    found = run_to_row(make_run("ffmpeg", 1.6), FACTS)
    assert found["benchmark"] == "render"
    assert found["fps"] == 15
    assert FACTS.items() <= found.items()
    assert (found["contender"], found["case"], found["repetition"], found["seconds"]) == ("ffmpeg", "h264", 1, 1.6)
    assert asdict(make_run("ffmpeg", 1.6)).keys() <= found.keys()


def test_rows_are_appended(tmp_path: Path) -> None:
    path = write_runs(tmp_path / "new", "2-cores-x", [make_run("reelmill"), make_run("ffmpeg")], FACTS)
    assert write_runs(tmp_path / "new", "2-cores-x", [make_run("old way")], FACTS) == path
    assert path.name == "render-2026-03-01-2-cores-x.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [found["contender"] for found in rows] == ["reelmill", "ffmpeg", "old way"]


def test_the_facts_of_this_machine() -> None:
    facts = json.loads(json.dumps(machine.facts()))
    assert facts["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert facts["machine"]["cpu"]
    assert facts["machine"]["memory_gb"] > 0
    assert facts["versions"]["av_ffmpeg"] == av.ffmpeg_version_info
    assert facts["versions"]["ffmpeg"][0].isdigit() or facts["versions"]["ffmpeg"].startswith("N-")
    assert facts["commit"] == "unknown" or len(facts["commit"].split("+")[0]) == 40


def test_no_row_names_the_host() -> None:
    facts = json.dumps(machine.facts())
    assert platform.node() not in facts or len(platform.node()) < 4


@pytest.mark.parametrize(
    ("cpu", "label"), [("AMD EPYC 7R13 (48-core)", "2-cores-amd-epyc-7r13-48-core"), ("Apple M2", "2-cores-apple-m2")]
)
def test_labels_are_plain_file_names(cpu: str, label: str) -> None:
    assert machine.label({"cpu": cpu, "cores": 2}) == label

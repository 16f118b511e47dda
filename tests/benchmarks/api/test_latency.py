"""`python -m benchmarks api` for real with tiny settings, and what makes it fail."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.api import h2load
from benchmarks.api.h2load import LoadError, Sample, Target
from benchmarks.api.latency import middleware_cost_ratios, render_load_ratios
from tests.support.processes.api_process import api_process
from tests.support.servers.databases import fresh_database

needs_h2load = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="h2load is not installed (Debian: apt-get install nghttp2-client)"
)


@needs_h2load
def test_the_command(tmp_path: Path) -> None:
    tiny = ["--rate", "10", "--seconds", "2", "--frames", "600", "--repetitions", "1", "--results", str(tmp_path)]
    command, one_slot = [sys.executable, "-m", "benchmarks", "api", *tiny], os.environ | {"REELMILL_SLOTS": "1"}
    done = subprocess.run(command, env=one_slot, capture_output=True, text=True)
    assert "not measured" not in done.stdout and "Traceback" not in done.stderr, done.stdout + done.stderr
    (path,) = tmp_path.glob("api-*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    latencies = [(row["path"], row["state"]) for row in rows if row["benchmark"] == "api"]
    assert latencies == [(path, state) for path in ("/api/experiments", "/health") for state in ("idle", "busy")]
    assert [row["layers"] for row in rows if row["benchmark"] == "layers"] == ["bare", "three", "all"]
    assert all(row["load_generator"].startswith("h2load") and row["p99_ms"] > 0 and row["commit"] for row in rows)
    assert done.stdout.count("p99 of") == 2 and done.stdout.count("cost of") == 2


@needs_h2load
@pytest.mark.anyio
async def test_answers_that_are_not_200_are_no_measurement(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database:
        with api_process(database.url, tmp_path) as api:
            refused = h2load.run_at_rate(Target(f"{api.url}/api/experiments"), 10, 1, tmp_path)
            good = h2load.run_at_rate(Target(f"{api.url}/health/live"), 10, 1, tmp_path)
    assert refused.faults() == ["20 of 20 responses were 401, not 200"]
    assert (good.faults(), good.statuses) == ([], {200: 20})


@needs_h2load
def test_nobody_there_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no request"):
        h2load.run_at_rate(Target("http://127.0.0.1:1/"), 5, 1, tmp_path)


def test_without_the_generator_its_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoadError, match="nghttp2-client"):
        h2load.h2load_path()


def test_unanswered_requests_are_a_fault() -> None:
    assert Sample(10, Counter({200: 8}), [1000] * 8).faults() == ["2 of 10 requests were not answered"]


def test_percentiles_are_the_nearest_rank() -> None:
    sample = Sample(200, Counter({200: 200}), [1000 * number for number in range(200, 0, -1)])
    assert [sample.percentile(part) for part in (0.5, 0.99, 1.0)] == [100, 198, 200]


def latency_rows(idle: list[float], busy: list[float]) -> list[dict[str, Any]]:
    known = {"idle": idle, "busy": busy}
    return [
        {"benchmark": "api", "path": "/health", "state": state, "p99_ms": value}
        for state, values in known.items()
        for value in values
    ]


@pytest.mark.parametrize(("busy", "missed"), [([19.0, 90.0, 20.0], False), ([21.0, 5.0, 21.0], True)])
def test_the_median_of_the_repetitions_decides(busy: list[float], missed: bool) -> None:
    (ratio,) = render_load_ratios(latency_rows([10.0, 10.0, 10.0], busy))
    assert ratio.is_missed is missed
    assert f"{min(busy) / 10:.2f} to {max(busy) / 10:.2f}" in str(ratio)


def test_the_cost_of_layers_is_the_part_of_a_bare_hello_that_is_lost() -> None:
    known = {"bare": (100.0, 10.0), "three": (80.0, 12.5), "all": (50.0, 40.0)}
    told = [
        {"benchmark": "layers", "layers": name, "requests_per_s": rate, "cpu_us": cpu}
        for name, (rate, cpu) in known.items()
    ]
    three, three_cpu, every, every_cpu = middleware_cost_ratios(told)
    assert three.values == three_cpu.values == (pytest.approx(0.2),) and not three.is_missed
    assert (every.values, every_cpu.values) == ((0.5,), (0.75,))
    assert not every.is_missed, "all of them have no limit"

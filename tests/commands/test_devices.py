"""`reelmill devices`: canaries on this machine, or the devices of a running service."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from service.worker.devices.canaries import CPU_CAPABILITIES
from tests.support.patience import PATIENCE_S
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.running_service import RunningService


def run_devices(*options: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    with clean_environment(**settings):
        command = [sys.executable, "-m", "service", "devices", *options]
        return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=180)


def by_name(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    return {device["device"]: device for device in json.loads(done.stdout)}


def test_without_a_service_this_machine_is_probed(tmp_path: Path) -> None:
    done = run_devices("--json", REELMILL_HOME=str(tmp_path / "home"), PORT="1")
    assert done.returncode == 0, done.stderr
    assert "no service is running on this machine" in done.stderr
    told = by_name(done)
    proven = {(one["stage"], one["what"]) for one in told["cpu"]["capabilities"] if one["state"] == "ok"}
    assert proven == set(CPU_CAPABILITIES)
    assert all(one["megapixels_per_second"] > 0 for one in told["cpu"]["capabilities"])
    assert told["cpu"]["figures"]["memory_total_bytes"] > 0
    assert told["cuda:0"]["reason"] or told["cuda:0"]["figures"], "a device, or why there is none"
    assert not (tmp_path / "home").exists(), "looking leaves nothing behind"


def test_here_prints_a_table(tmp_path: Path) -> None:
    done = run_devices("--here", REELMILL_HOME=str(tmp_path))
    assert done.returncode == 0 and done.stderr == ""
    assert "encode h264" in done.stdout and "memory_total_bytes" in done.stdout and "\x1b" not in done.stdout


def test_a_service_that_is_named_and_away() -> None:
    done = run_devices(REELMILL_URL="http://127.0.0.1:1", REELMILL_TOKEN="none")
    assert (done.returncode, done.stdout) == (75, "")
    assert "cannot be reached" in done.stderr


def test_of_a_running_service(service: RunningService) -> None:
    refused = run_devices("--json", REELMILL_URL=service.url, REELMILL_TOKEN=service.token("alice", ("videos:read",)))
    assert refused.returncode == 77
    deadline = time.monotonic() + PATIENCE_S
    with service.client("operator", "ops:read") as client:
        while not client.get("/api/devices").json() and time.monotonic() < deadline:
            time.sleep(0.1)
    done = run_devices("--json", REELMILL_URL=service.url, REELMILL_TOKEN=service.token("operator", ("ops:read",)))
    assert done.returncode == 0, done.stderr
    told = by_name(done)
    assert ":" in told["cpu"]["worker"], "a worker's own rows"
    assert {(one["stage"], one["what"]) for one in told["cpu"]["capabilities"]} == set(CPU_CAPABILITIES)

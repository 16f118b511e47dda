"""`reelmill workers`: the workers of a running service, and orders to one of them."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from tests.support.patience import PATIENCE_S
from tests.support.processes.clean_environment import clean_environment
from tests.support.processes.running_service import RunningService


def run_workers(service: RunningService, *words: str, scope: str = "ops:write") -> "subprocess.CompletedProcess[str]":
    token = service.token("operator", ("ops:read", scope))
    with clean_environment(REELMILL_URL=service.url, REELMILL_TOKEN=token):
        command = [sys.executable, "-m", "service", "workers", *words]
        return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)


def list_workers(service: RunningService) -> list[Any]:
    done = run_workers(service, "--json")
    assert done.returncode == 0, done.stderr
    listed: list[Any] = json.loads(done.stdout)
    return listed


def test_workers_are_listed_and_cordoned(service: RunningService) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not (listed := list_workers(service)) and time.monotonic() < deadline:
        time.sleep(0.1)
    worker = listed[0]
    try:
        done = run_workers(service, "cordon", worker["name"])
        assert (done.returncode, done.stdout.strip()) == (0, f"{worker['name']} is cordoned"), done.stderr
        table = run_workers(service).stdout
        assert worker["id"] in table and "cordoned" in table and "h264" in table
    finally:
        done = run_workers(service, "uncordon", worker["id"][:18], "--json")
    assert (done.returncode, list_workers(service)[0]["state"]) == (0, "active")
    assert json.loads(done.stdout)["state"] == "active"


def test_a_worker_that_is_not_there(service: RunningService) -> None:
    done = run_workers(service, "drain", "nobody:1")
    assert done.returncode == 1 and "there is no such worker" in done.stderr
    refused = run_workers(service, "drain", list_workers(service)[0]["id"], scope="videos:read")
    assert refused.returncode == 77

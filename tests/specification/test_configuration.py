"""Requirement: Configuration Management."""

import os
import subprocess
import sys
from pathlib import Path

import httpx

from service import config
from tests.specification.scenario import scenario
from tests.support.doubles.ollama_double import ollama
from tests.support.processes.api_process import SECRET, ApiProcess, api_process
from tests.support.processes.clean_environment import clean_environment
from tests.support.servers.s3_server import needs_s3, s3_server


def start_and_fail(home: Path, **settings: str) -> tuple[int, str]:
    """The exit code and the last line of an API that cannot start."""
    with clean_environment(REELMILL_HOME=str(home), PORT="0", **settings):
        command = [sys.executable, "-m", "service", "api"]
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.strip().splitlines()[-1]


@scenario("Database configuration")
def test_database_configuration(api: ApiProcess, tmp_path: Path) -> None:
    assert httpx.get(f"{api.url}/health", trust_env=False).json()["checks"]["database"]["status"] == "ok"
    nowhere = f"postgresql://reelmill:{SECRET}@127.0.0.1:1/reelmill"
    code, line = start_and_fail(tmp_path, DATABASE_URL=nowhere, JWT_SECRET=SECRET)
    assert (code, "DATABASE_URL" in line, SECRET in line) == (78, True, False)


@scenario("Storage configuration")
@needs_s3
def test_storage_configuration(database_url: str, tmp_path: Path) -> None:
    environment = s3_server().environment()
    with api_process(database_url, tmp_path, **environment) as running:
        store = httpx.get(f"{running.url}/health", trust_env=False).json()["checks"]["object_store"]
        assert store["status"] == "ok"
    (tmp_path / "other").mkdir()
    wrong = environment | {"MINIO_SECRET_KEY": SECRET}
    code, line = start_and_fail(tmp_path / "other", DATABASE_URL=database_url, JWT_SECRET=SECRET, **wrong)
    assert (code, "MINIO_SECRET_KEY" in line, SECRET in line) == (78, True, False)


@scenario("Model configuration")
def test_model_configuration(database_url: str, tmp_path: Path) -> None:
    with clean_environment():
        defaults = config.load().agent
    assert all((defaults.default_model, defaults.code_model, defaults.fast_model))
    names = {"DEFAULT_MODEL": "talker:8b", "CODE_MODEL": "coder:7b", "FAST_MODEL": "fast:1b"}
    with clean_environment(**names):
        chosen = config.load().agent
    assert (chosen.default_model, chosen.code_model, chosen.fast_model) == ("talker:8b", "coder:7b", "fast:1b")
    with (
        ollama(*names.values()) as double,
        api_process(database_url, tmp_path, OLLAMA_HOST=double.host, **names) as running,
    ):
        assert httpx.get(f"{running.url}/health", trust_env=False).json()["checks"]["ollama"]["status"] == "ok"
    with api_process(database_url, tmp_path, OLLAMA_HOST="127.0.0.1:1") as running:  # starts all the same
        health = httpx.get(f"{running.url}/health", trust_env=False)
        assert (health.status_code, health.json()["checks"]["ollama"]["status"]) == (503, "failed")

"""`reelmill doctor` says what `reelmill api` would do here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.doubles.ollama_double import ollama
from tests.support.processes.clean_environment import clean_environment


def run_doctor(home: Path, **settings: str) -> tuple[int, dict[str, str]]:
    """Exit code, and check -> "ok" or "FAIL" with its message."""
    with clean_environment(REELMILL_HOME=str(home), **settings):
        command = [sys.executable, "-m", "service", "doctor"]
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()[1:]
    return done.returncode, {line[5:18].strip(): f"{line[:4].strip()} {line[19:]}" for line in lines}


def test_a_machine_that_can(tmp_path: Path) -> None:
    code, said = run_doctor(tmp_path)
    assert code == 0
    assert set(said) == {"database", "object store", "tokens", "file handles", "ollama", "encoders", "cuda"}
    assert all(text.startswith("ok ") for text in said.values())
    assert "OLLAMA_HOST is not set" in said["ollama"]


def test_an_outside_database_needs_a_secret(postgres_url: str, tmp_path: Path) -> None:
    code, said = run_doctor(tmp_path, DATABASE_URL=postgres_url)
    assert (code, said["tokens"].startswith("FAIL"), "JWT_SECRET" in said["tokens"]) == (78, True, True)
    assert said["database"].startswith("ok")


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x", "JWT_SECRET": "s" * 40}, "database"),
        ({"MINIO_ENDPOINT": "127.0.0.1:1"}, "object store"),
        (
            {"MINIO_ENDPOINT": "http://u:hunter2@127.0.0.1:1", "MINIO_ACCESS_KEY": "k", "MINIO_SECRET_KEY": "hunter2"},
            "object store",
        ),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x?user=u&password=hunter2", "JWT_SECRET": "s" * 40}, "database"),
        ({"OLLAMA_HOST": "http://u:hunter2@127.0.0.1:1"}, "ollama"),
        ({"JWT_SECRET": "short"}, "tokens"),
        ({"OLLAMA_HOST": "http://127.0.0.1:1"}, "ollama"),
        ({"REELMILL_SLOTS": "none"}, "settings"),
    ],
)
def test_what_to_mend_is_named(settings: dict[str, str], check: str, tmp_path: Path) -> None:
    code, said = run_doctor(tmp_path, **settings)
    assert code == 78
    assert [name for name, text in said.items() if text.startswith("FAIL")] == [check]
    assert any(variable in said[check] for variable in (*settings, "MINIO_ACCESS_KEY"))
    assert "hunter2" not in str(said)


def test_a_missing_model_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    models = {"DEFAULT_MODEL": "big:8b", "CODE_MODEL": "coder:7b", "FAST_MODEL": "small:3b"}
    with ollama("big:8b", "small:3b") as double:
        code, said = run_doctor(tmp_path, OLLAMA_HOST=double.host, **models)
        assert (code, said["ollama"]) == (78, "FAIL missing models: ollama pull coder:7b")
    with ollama(*models.values()) as double:
        code, said = run_doctor(tmp_path, OLLAMA_HOST=double.host, **models)
        assert code == 0 and said["ollama"].startswith("ok version") and "coder:7b" in said["ollama"]

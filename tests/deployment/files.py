"""The parsed deployment files."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from dockerfile_parse import DockerfileParser

from tests.support.source_code import ROOT

DOCKERFILES = ("Dockerfile.cpu", "Dockerfile.cuda")
INSTRUCTIONS = {
    "ADD", "ARG", "CMD", "COMMENT", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
}  # fmt: skip
# Compose's `${NAME}`, `${NAME:-default}` and `${NAME:?message}`: name, operator, rest.
VARIABLE = re.compile(r"\$\{(\w+)(?:(:?[-?+])([^}]*))?\}")


def dockerfile(name: str) -> DockerfileParser:
    return DockerfileParser(fileobj=(ROOT / name).open("rb"))


def last_stage(name: str) -> list[dict[str, Any]]:
    """The instructions after the last FROM: those of the final image."""
    structure = dockerfile(name).structure
    start = max(index for index, step in enumerate(structure) if step["instruction"] == "FROM")
    return list(structure[start:])


def values(name: str, instruction: str) -> list[str]:
    return [step["value"] for step in last_stage(name) if step["instruction"] == instruction]


@cache
def compose_text() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@cache
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(compose_text()))


def services(*, ours: bool | None = None) -> dict[str, dict[str, Any]]:
    """All services, or only those that are (not) built from this project."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return {name: service for name, service in found.items() if ours is None or ("build" in service) == ours}


def example_environment() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def run_linter(program: str, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a linter of this virtual environment, which need not be on PATH."""
    command = [str(Path(sys.executable).parent / program), *arguments]
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)

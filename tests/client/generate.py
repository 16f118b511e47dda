"""Writes what of the client follows from the API, and its blocking classes: `python -m tests.client.generate`."""

import subprocess
import sys
from pathlib import Path

from tests.client.api_modules import CLIENT, api, fields, operations
from tests.client.blocking_classes import SOURCES, blocking
from tests.support.source_code import ROOT


def modules() -> dict[Path, str]:
    """Every generated module, before it is formatted."""
    document = api()
    return {
        CLIENT / "operations.py": operations(document),
        CLIENT / "fields.py": fields(document),
    } | {CLIENT / f"blocking/{name.rpartition('/')[2]}.py": blocking(name) for name in SOURCES}


def format_code(text: str) -> str:
    """As ruff leaves it: imports sorted, lines broken."""
    for words in (("check", "--select", "I,F401", "--fix"), ("format",)):
        command = [
            str(Path(sys.executable).with_name("ruff")),
            *words,
            "-q",
            "--stdin-filename",
            "service/client/generated.py",
            "-",
        ]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text


if __name__ == "__main__":
    for path, text in modules().items():
        path.write_text(format_code(text))

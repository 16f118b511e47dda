"""Compiles in a separate process and records the resource usage: `python -m tests.kernels.record`."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD_FILE = ROOT / "kernels" / "registers.json"
ARCHITECTURES = ("80", "90", "100")


def sources_digest() -> str:
    """sha256 (hex) of all that the figures depend on: the kernels, how they are compiled, and the compiler's version."""
    digest = hashlib.sha256(version("triton").encode())
    for path in (*sorted((ROOT / "kernels").rglob("*.py")), Path(__file__).with_name("compiling.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def compile_all(cache: Path, architectures: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Architecture -> kernel -> resource usage."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.kernels.compiling", *architectures]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    reports: dict[str, dict[str, dict[str, int]]] = json.loads(done.stdout)
    return reports


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        figures = compile_all(Path(cache), ARCHITECTURES)
    lines = [f'  "{name}": {{\n' + ",\n".join(_rows(rows)) + "\n  }" for name, rows in figures.items()]
    lines.insert(0, f'  "sources": "{sources_digest()}"')
    RECORD_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _rows(rows: dict[str, dict[str, int]]) -> list[str]:
    return [f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]


if __name__ == "__main__":
    main()

"""Compiles in a separate process and records the resource usage: `python -m tests.kernels.record`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD_FILE = ROOT / "kernels" / "registers.json"
ARCHITECTURES = ("80", "90", "100")


def compile_all(cache: Path) -> dict[str, dict[str, dict[str, int]]]:
    """Architecture -> kernel -> resource usage."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.kernels.compiling", *ARCHITECTURES]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    reports: dict[str, dict[str, dict[str, int]]] = json.loads(done.stdout)
    return reports


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        figures = compile_all(Path(cache))
    lines = [f'  "{name}": {{\n' + ",\n".join(_rows(rows)) + "\n  }" for name, rows in figures.items()]
    RECORD_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _rows(rows: dict[str, dict[str, int]]) -> list[str]:
    return [f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]


if __name__ == "__main__":
    main()

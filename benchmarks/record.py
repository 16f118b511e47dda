"""Result rows: one JSON line per run, with the machine, commit and versions."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RenderRun:
    """One contender making one video once. Seconds are wall clock; `cpu_seconds` cover all its processes."""

    case: str
    contender: str
    repetition: int
    seconds: float
    cpu_seconds: float
    frames: int
    width: int
    height: int
    ssim: float
    bytes: int
    sha256: str
    # Reelmill only: seconds per pipeline stage, summed over all slots.
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def frames_per_second(self) -> float:
        return self.frames / self.seconds


def run_to_row(run: RenderRun, facts: dict[str, Any]) -> dict[str, Any]:
    """The run as a row, with the facts that all runs of this measurement share."""
    rounded = {"seconds": round(run.seconds, 4), "cpu_seconds": round(run.cpu_seconds, 2)}
    return {"benchmark": "render"} | asdict(run) | rounded | {"fps": round(run.frames_per_second, 2)} | facts


def write_runs(folder: Path, label: str, runs: Iterable[RenderRun], facts: dict[str, Any]) -> Path:
    """Append to `render-<date>-<label>.jsonl`; returns the path."""
    return append_rows(folder, f"render-{_date(facts)}-{label}", [run_to_row(run, facts) for run in runs])


def write_rows(folder: Path, label: str, measurements: Iterable[dict[str, Any]], facts: dict[str, Any]) -> Path:
    """Append to `<benchmark>-<date>-<label>.jsonl`, named after the first row's benchmark; returns the path."""
    rows = [row | facts for row in measurements]
    return append_rows(folder, f"{rows[0]['benchmark']}-{_date(facts)}-{label}", rows)


def append_rows(folder: Path, name: str, rows: Iterable[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def _date(facts: dict[str, Any]) -> str:
    return datetime.fromisoformat(facts["at"]).date().isoformat()

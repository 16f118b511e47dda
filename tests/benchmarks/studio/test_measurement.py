"""The whole command, tiny: every figure is measured in a browser, and recorded; goals that are missed are named."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.footage import FootageShape
from benchmarks.studio.browser import CHROMIUM
from benchmarks.studio.measurement import StudioRequest, measure, missed_goals

TINY = FootageShape(frames=2, width=480, height=272)


@pytest.mark.skipif(not CHROMIUM.exists() or not shutil.which("chromedriver"), reason="Chromium is not installed")
def test_every_figure_is_measured_and_recorded(tmp_path: Path) -> None:
    measure(StudioRequest((), 200, 1, 0.02, tmp_path, renders=60, pages=2, seconds=1, source=TINY))
    [path] = tmp_path.iterdir()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    first, long_list, scrubbing, memory, *pages = rows
    assert [row["figure"] for row in rows] == ["first view", "list", "scrubbing", "memory", "pages", "pages", "pages"]
    assert 0 < first["page_bytes"] < 150_000 and first["api_bytes"] > 0
    assert long_list["renders"] == 60 and long_list["frames_per_s"] > 0
    assert scrubbing["shown_per_s"] > 0 and scrubbing["never_sharp"] == 0
    assert len(memory["heap_mb"]) == 11
    assert [(row["state"], row["pages"]) for row in pages] == [("idle", 0), ("rendering", 0), ("rendering", 2)]
    assert all(row["faults"] == [] for row in pages) and pages[2]["events"] > 0
    assert all(row["commit"] and row["load"] >= 0 for row in rows)


def test_missed_goals_are_named() -> None:
    idle = {"figure": "pages", "state": "idle", "pages": 0, "p99_ms": 10.0}
    alone, together = idle | {"state": "rendering"}, idle | {"state": "rendering", "pages": 50, "p99_ms": 30.0}
    view = {"figure": "first view", "page_bytes": 150_001, "seconds": 1.0}
    assert missed_goals([view, idle, alone, together]) == [
        "150,001 bytes are sent for the page",
        "p99 with 50 pages and a render is 3.0 times the idle one",
    ]
    assert missed_goals([view | {"page_bytes": 150_000}, idle, together | {"p99_ms": 20.0}]) == []
    unsharp = {"figure": "scrubbing", "shown_per_s": 50.0, "cached_ms": 300, "not_cached_ms": None, "never_sharp": 2}
    assert missed_goals([unsharp]) == ["sharp after None ms, not cached", "2 pictures were never sharp"]
    assert missed_goals([{"figure": "memory", "heap_mb": [5.0, 9.0, 12.1]}]) == ["the heap grew from 9.0 to 12.1 MB"]

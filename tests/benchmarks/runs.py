"""Runs of a case with 24 frames of 320x180."""

from typing import Any

from benchmarks.footage import FootageShape
from benchmarks.record import RenderRun

SHAPE = FootageShape(frames=24, width=320, height=180)
FACTS: dict[str, Any] = {
    "at": "2026-03-01T10:00:00+00:00",
    "machine": {"cpu": "Test CPU 9", "cores": 2, "memory_gb": 8.0, "kernel": "Linux 6"},
    "commit": "abc",
    "versions": {"reelmill": "0.1.0"},
    "store": "folder",
}


def make_run(contender: str, seconds: float = 1.0, **facts: Any) -> RenderRun:
    """A run without faults, changed by `facts`."""
    good: dict[str, Any] = {
        "case": "h264",
        "repetition": 1,
        "cpu_seconds": 1.5,
        "frames": SHAPE.frames,
        "width": SHAPE.width,
        "height": SHAPE.height,
        "ssim": 0.96,
        "bytes": {"reelmill": 1000, "ffmpeg": 1000, "old way": 9000}[contender],
        "sha256": "00",
    }
    return RenderRun(contender=contender, seconds=seconds, **good | facts)

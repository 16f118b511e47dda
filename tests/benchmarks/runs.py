"""Measured runs as the benchmarks hold them, of a case with 24 frames of 320x180."""

from typing import Any

from benchmarks.record import RenderRun

SHAPE = (24, 320, 180)
FACTS: dict[str, Any] = {
    "at": "2026-03-01T10:00:00+00:00",
    "machine": {"cpu": "Test CPU 9", "cores": 2, "memory_gb": 8.0, "kernel": "Linux 6"},
    "commit": "abc",
    "versions": {"reelmill": "0.1.0"},
    "store": "folder",
}


def make_run(contender: str, seconds: float = 1.0, **facts: Any) -> RenderRun:
    """A run without fault unless `facts` say otherwise."""
    good: dict[str, Any] = {
        "case": "h264",
        "repetition": 1,
        "cpu_seconds": 1.5,
        "frames": SHAPE[0],
        "width": SHAPE[1],
        "height": SHAPE[2],
        "ssim": 0.96,
        "bytes": {"reelmill": 1000, "ffmpeg": 1000, "old way": 9000}[contender],
        "sha256": "00",
    }
    return RenderRun(contender=contender, seconds=seconds, **good | facts)

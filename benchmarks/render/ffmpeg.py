"""Contender: one ffmpeg command line per render, on local files."""

import subprocess
from pathlib import Path

from benchmarks.cases import Case
from benchmarks.machine import ffmpeg_path
from benchmarks.process_stats import Timing, children_cpu_seconds, measure_time


class FfmpegError(Exception):
    """ffmpeg ended with an error; the text is its last line."""


class Ffmpeg:
    """Reads `00000.jpg`, `00001.jpg`, … of a folder; a new process each time."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._folder, self._size = folder, size

    def command(self, case: Case, output: Path) -> list[str]:
        width, height = case.size(*self._size)
        scale = [] if case.scale == 1 else ["-vf", f"scale={width}:{height}:flags=area"]
        source = ["-framerate", "30", "-i", str(self._folder / "%05d.jpg")]
        encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p"]
        return [ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-y", *source, *scale, *encode, str(output)]

    def render(self, case: Case, output: Path) -> Timing:
        """Raises FfmpegFailed."""
        with measure_time(children_cpu_seconds) as timing:
            done = subprocess.run(self.command(case, output), check=False, capture_output=True, text=True)
        if done.returncode:
            raise FfmpegError(f"ffmpeg: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
        return timing

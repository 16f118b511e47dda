"""Contender: the ffmpeg command line on local files, one command per render, as a user would type it."""

import functools
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg

from benchmarks.cases import Case
from benchmarks.stopwatch import Timing, children_cpu_seconds, measure_time


class FfmpegError(Exception):
    """ffmpeg ended with an error; the text is its last line."""


@functools.cache
def ffmpeg_path() -> str:
    """The system's ffmpeg, else the one of imageio-ffmpeg."""
    return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg_version() -> str:
    first = subprocess.run([ffmpeg_path(), "-version"], check=True, capture_output=True, text=True).stdout.splitlines()[
        0
    ]
    return first.removeprefix("ffmpeg version ").split(" Copyright")[0]


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

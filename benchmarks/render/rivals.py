"""Reelmill's rivals: the ffmpeg command line, an OpenCV loop over objects, and a tifffile script for 16-bit TIFFs."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile

from benchmarks.cases import Case
from benchmarks.machine import ffmpeg_path
from benchmarks.process_stats import Timing, children_cpu_seconds, measure_time, own_cpu_seconds

ReadObject = Callable[[str], bytes]
PERCENTILES = (0.35, 99.65)


class FfmpegError(Exception):
    """ffmpeg failed; the text is the last line of its output."""


class Ffmpeg:
    """One ffmpeg process per render, on `00000.jpg`, `00001.jpg`, … of a folder."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._folder, self._size = folder, size

    def command(self, case: Case, output: Path) -> list[str]:
        width, height = case.size(*self._size)
        scale = [] if case.scale == 1 else ["-vf", f"scale={width}:{height}:flags=area"]
        source = ["-framerate", "30", "-i", str(self._folder / "%05d.jpg")]
        encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p"]
        return [ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-y", *source, *scale, *encode, str(output)]

    def render(self, case: Case, output: Path) -> Timing:
        """Raises FfmpegError."""
        with measure_time(children_cpu_seconds) as timing:
            done = subprocess.run(self.command(case, output), check=False, capture_output=True, text=True)
        if done.returncode:
            raise FfmpegError(f"ffmpeg: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
        return timing


class OpenCvBaseline:
    """Reads object by object and writes with cv2.VideoWriter, in this process: its imports are not timed."""

    def __init__(self, read: ReadObject, keys: Sequence[str], size: tuple[int, int]) -> None:
        self._read, self._keys, self._size = read, keys, size

    def render(self, case: Case, output: Path) -> Timing:
        with measure_time(own_cpu_seconds) as timing:
            self._write(case.size(*self._size), output)
        return timing

    def _write(self, size: tuple[int, int], output: Path) -> None:
        writer = cv2.VideoWriter(str(output), cv2.VideoWriter.fourcc(*"mp4v"), 30, size)
        for key in self._keys:
            picture = cv2.imdecode(np.frombuffer(self._read(key), np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            if size != self._size:
                picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            writer.write(picture)
        writer.release()


class TiffScript:
    """Reads local files and uploads nothing, in this process: its imports are not timed."""

    def __init__(self, frames: Sequence[Path]) -> None:
        self._frames = frames

    def render(self, case: Case, output: Path) -> Timing:
        with measure_time(own_cpu_seconds) as timing:
            self._write(output)
        return timing

    def _write(self, output: Path) -> None:
        low, high = percentile_window(self._frames)
        writer: cv2.VideoWriter | None = None
        for path in self._frames:
            frame = tifffile.imread(path)
            levels = (np.clip((frame - low) / (high - low), 0, 1) * 255).astype(np.uint8)
            size = (levels.shape[1], levels.shape[0])
            writer = writer or cv2.VideoWriter(str(output), cv2.VideoWriter.fourcc(*"mp4v"), 30, size)
            writer.write(cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR))
        if writer is not None:
            writer.release()


def percentile_window(frames: Sequence[Path]) -> tuple[float, float]:
    """The (low, high) level window of the sequence: percentiles of all its samples."""
    low, high = np.percentile(np.stack([tifffile.imread(path) for path in frames]), PERCENTILES)
    return float(low), float(high)

"""Contenders that write with OpenCV: object by object from the store, and a tifffile script for 16-bit TIFFs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile

from benchmarks.cases import Case
from benchmarks.process_stats import Timing, measure_time, own_cpu_seconds

ReadObject = Callable[[str], bytes]


class OpenCvBaseline:
    """`read` gets an object by its key. It runs in this process, whose imports are done: that is in its favour."""

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


PERCENTILES = (0.35, 99.65)


class TiffScript:
    """Reads local files, uploads nothing, and runs in this process, whose imports are done: all in its favour."""

    def __init__(self, frames: Sequence[Path]) -> None:
        self._frames = frames

    def render(self, case: Case, output: Path) -> Timing:
        with measure_time(own_cpu_seconds) as timing:
            self._write(percentile_window(self._frames), output)
        return timing

    def _write(self, limits: tuple[float, float], output: Path) -> None:
        low, high = limits
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
    """One for the sequence, from all of its samples."""
    low, high = np.percentile(np.stack([tifffile.imread(path) for path in frames]), PERCENTILES)
    return float(low), float(high)

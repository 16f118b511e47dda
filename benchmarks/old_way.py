"""Contender: the old way. One object after the other is downloaded, decoded by OpenCV and given to a VideoWriter."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.cases import Case
from benchmarks.stopwatch import Timing, measure_time, own_cpu_seconds

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

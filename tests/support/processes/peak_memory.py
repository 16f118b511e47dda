"""The memory that some work takes at its peak, measured in a process of its own with the allocator of a slot."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from service.malloc import trim_malloc
from service.worker.slots.memory import tune_malloc

T = TypeVar("T")
FORKS = multiprocessing.get_context("forkserver")
# Loaded once, by the process that the others are forked from.
FORKS.set_forkserver_preload(["service.pipeline.segment", "service.pipeline.stills.preview", "service.pipeline.probe"])


def peak_bytes(work: Callable[[T], object], small: T, large: T) -> int:
    """How much more memory the process has at the peak of `work(large)` than before it, after `work(small)`."""
    with ProcessPoolExecutor(1, FORKS) as executor:
        return executor.submit(_measure, work, small, large).result()


def _measure(work: Callable[[T], object], small: T, large: T) -> int:
    tune_malloc()
    work(small)
    trim_malloc()
    before = _status_bytes("VmSize")
    work(large)
    return _status_bytes("VmPeak") - before


def _status_bytes(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024

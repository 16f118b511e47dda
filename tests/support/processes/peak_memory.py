"""The memory that some work takes, measured in a process of its own with the allocator of a slot."""

import multiprocessing
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from service.malloc import trim_malloc
from service.worker.memory import tune_malloc

T = TypeVar("T")
R = TypeVar("R")
FORKS = multiprocessing.get_context("forkserver")
# Loaded once, by the process that the others are forked from.
LOADED = [
    "service.pipeline.segment",
    "service.pipeline.stills.preview",
    "service.pipeline.probe",
    "tifffile",
    "PIL.Image",
]
FORKS.set_forkserver_preload(LOADED)


def in_new_process(work: Callable[[T], R], argument: T) -> R:
    """What `work(argument)` returns there."""
    with ProcessPoolExecutor(1, FORKS, tune_malloc) as executor:
        return executor.submit(work, argument).result()


def peak_bytes(work: Callable[[T], object], argument: T) -> int:
    """How much more memory this process has at the peak of `work(argument)` than before it."""
    trim_malloc()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    before = _status_bytes("VmRSS")
    work(argument)
    return _status_bytes("VmHWM") - before


@contextmanager
def memory_left(size: int) -> Iterator[None]:
    """This process may have only so many bytes more, as a slot may."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    trim_malloc()
    resource.setrlimit(resource.RLIMIT_DATA, (_status_bytes("VmData") + size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _status_bytes(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024

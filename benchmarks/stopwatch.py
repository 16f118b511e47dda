"""How long a piece of work took, on the wall and on the CPU."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Timing:
    """Seconds, 0 until the block has ended; `stages` where a contender knows its own."""

    wall: float = 0
    cpu: float = 0
    stages: dict[str, float] = field(default_factory=dict)


@contextmanager
def measure_time(cpu_seconds: Callable[[], float]) -> Iterator[Timing]:
    """Fills the timing at the end of the block; `cpu` tells CPU seconds used so far."""
    timing = Timing()
    cpu_before, before = cpu_seconds(), time.perf_counter()
    yield timing
    timing.wall = time.perf_counter() - before
    timing.cpu = cpu_seconds() - cpu_before


def own_cpu_seconds() -> float:
    return _rusage_seconds(resource.RUSAGE_SELF)


def children_cpu_seconds() -> float:
    return _rusage_seconds(resource.RUSAGE_CHILDREN)


def _rusage_seconds(scope: int) -> float:
    usage = resource.getrusage(scope)
    return usage.ru_utime + usage.ru_stime


def tree_cpu_seconds(root_pids: list[int]) -> float:
    """CPU seconds of these processes, of all below them, and of what those have waited for. Linux; else 0."""
    facts = dict(_process_times())
    wanted, grown = set(root_pids), True
    while grown:
        below = {pid for pid, (parent, _) in facts.items() if parent in wanted} - wanted
        wanted |= below
        grown = bool(below)
    return sum(facts[pid][1] for pid in wanted if pid in facts)


def _process_times() -> Iterator[tuple[int, tuple[int, float]]]:
    """(pid, (parent, CPU seconds)) of every process, from /proc/<pid>/stat: fields 4 and 14 to 17 of proc(5)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield int(path.parent.name), (int(fields[1]), sum(map(int, fields[11:15])) / TICKS_PER_SECOND)

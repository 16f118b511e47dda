"""Wall time, and CPU time, memory and sockets of processes (from /proc)."""

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
    """Seconds, 0 until the block has ended; `stages` if a contender reports them."""

    wall: float = 0
    cpu: float = 0
    stages: dict[str, float] = field(default_factory=dict)


@contextmanager
def measure_time(cpu_seconds: Callable[[], float]) -> Iterator[Timing]:
    """Fill the timing at the end of the block; `cpu_seconds` returns the CPU seconds used so far."""
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
    """CPU seconds of these processes and their descendants, including reaped children. 0 unless on Linux."""
    processes = dict(_process_times())
    tree = set(root_pids)
    while children := {pid for pid, (parent, _) in processes.items() if parent in tree} - tree:
        tree |= children
    return sum(processes[pid][1] for pid in tree if pid in processes)


def _process_times() -> Iterator[tuple[int, tuple[int, float]]]:
    """(pid, (parent, CPU seconds)) of every process, from /proc/<pid>/stat: fields 4 and 14 to 17 of proc(5)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield int(path.parent.name), (int(fields[1]), sum(map(int, fields[11:15])) / TICKS_PER_SECOND)


def private_memory_mb(pid: int) -> float:
    """Anonymous resident memory (RssAnon) in MB: without shared library pages."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e6, 1)


def count_open_sockets(pid: int, excluded_port: int) -> int:
    """Open sockets, listening or connected, except those connected to `excluded_port`, which a pool keeps."""
    excluded = _sockets_to_port(pid, excluded_port)
    names = [_link_target(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(name.startswith("socket:") and name not in excluded for name in names)


def _sockets_to_port(pid: int, port: int) -> set[str]:
    """Sockets connected to this port, named as in /proc/<pid>/fd."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if int(words[2].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found


def _link_target(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 (the target is not a path)
    except OSError:
        return ""

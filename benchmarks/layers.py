"""What our middlewares cost: a bare hello, one within the three that all requests go through, one within all five."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.hello import NAMES
from benchmarks.load import Target
from benchmarks.stopwatch import of_tree

CLIENTS = 8


@contextmanager
def hellos(scratch: Path) -> Iterator[Mapping[str, "Hello"]]:
    """All of them at once: who is not asked takes no time."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(_served(name, scratch)) for name in NAMES}


class Hello:
    """One server process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._pid = process.pid
        self._target = Target(*process.stdout.readline().split())

    def figure(self, name: str, seconds: int, scratch: Path) -> tuple[dict[str, Any], list[str]]:
        """Requests a second of a server that is never idle, CPU time of each, and why they do not count."""
        before = of_tree([self._pid])
        sample = load.flat_out(self._target, CLIENTS, seconds, scratch)
        used = of_tree([self._pid]) - before
        whole = seconds + load.WARM_UP_S
        rate = sample.sent / seconds
        told = {"layers": name, "requests_per_s": round(rate, 1), "cpu_us": round(used / whole / rate * 1e6, 1)}
        return told | sample.figure(), [f"hello within {name}: {fault}" for fault in sample.faults()]


@contextmanager
def _served(name: str, scratch: Path) -> Iterator[Hello]:
    command = [sys.executable, "-m", "benchmarks.hello", name]
    with (scratch / f"hello-{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield Hello(process)
        finally:
            process.terminate()
            process.wait(30)

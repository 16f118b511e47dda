"""Spawned processes that run the same task at the same time, each with its own workbench."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from benchmarks.devices.tasks.workbench import Workbench, WorkerSetup
from service.errors import first_line
from service.pipeline.cuda.errors import CudaError

# Its first argument is the member's bench; it travels by its name.
Task = Callable[..., Any]


class WorkerPoolError(Exception):
    """A member failed, died or did not answer; the crew is of no more use unless it only failed."""


class WorkerPool:
    """`count` spawned processes; use as a context."""

    def __init__(self, count: int, setup: WorkerSetup) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ends: list[Connection[Any, Any]] = []
        self._processes: list[SpawnProcess] = []
        self._broken: str | None = None
        for _ in range(count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=run_worker, args=(theirs, setup), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()

    def __len__(self) -> int:
        return len(self._processes)

    def call_all(self, task: Task, *given: Any, seconds: float) -> list[Any]:
        """What each member answers. Raises CrewFault."""
        return self._call(self._ends, (task, given), seconds)

    def call_first(self, task: Task, *given: Any, seconds: float) -> Any:
        """What the first member answers. Raises CrewFault."""
        return self._call(self._ends[:1], (task, given), seconds)[0]

    def _call(self, ends: "list[Connection[Any, Any]]", call: tuple[Task, Any], seconds: float) -> list[Any]:
        if self._broken:
            raise WorkerPoolError(self._broken)
        try:
            for end in ends:
                end.send(call)
            answers = [self._receive(end, seconds) for end in ends]
        except (EOFError, OSError):
            self._broken = "a process that measured has died"
            raise WorkerPoolError(self._broken) from None
        if faults := [fault for fault, _ in answers if fault]:
            raise WorkerPoolError(faults[0])
        return [answer for _, answer in answers]

    def _receive(self, end: "Connection[Any, Any]", seconds: float) -> tuple[str | None, Any]:
        if not end.poll(seconds):
            self._broken = f"no answer for {seconds:.0f} s"
            raise WorkerPoolError(self._broken)
        answer: tuple[str | None, Any] = end.recv()
        return answer


def run_worker(end: "Connection[Any, Any]", setup: WorkerSetup) -> None:
    """A member's life."""
    bench = Workbench(setup)
    while True:
        try:
            task, given = end.recv()
        except EOFError:
            os._exit(0)
        end.send(_run_task(task, bench, given))


def _run_task(task: Task, bench: Workbench, given: tuple[Any, ...]) -> tuple[str | None, Any]:
    try:
        return None, task(bench, *given)
    except CudaError as fault:
        return fault.reason, None
    except Exception as error:  # whatever it is, it becomes a row that says so
        return first_line(error), None

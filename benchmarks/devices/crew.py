"""Processes that do the same piece of work at the same time, each with a bench of its own."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from benchmarks.devices.bench import Bench, Setup
from service.errors import first_line
from service.pipeline.cuda.faults import CudaFault

Task = Callable[..., Any]
"""Its first argument is the member's bench; it travels by its name."""


class CrewFault(Exception):
    """A member failed, died or did not answer; the crew is of no more use unless it only failed."""


class Crew:
    """`count` spawned processes; use as a context."""

    def __init__(self, count: int, setup: Setup) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ends: list[Connection[Any, Any]] = []
        self._processes: list[SpawnProcess] = []
        self._broken: str | None = None
        for _ in range(count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=serve, args=(theirs, setup), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)

    def __enter__(self) -> "Crew":
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

    def all(self, task: Task, *given: Any, seconds: float) -> list[Any]:
        """What each member answers. Raises CrewFault."""
        return self._asked(self._ends, (task, given), seconds)

    def one(self, task: Task, *given: Any, seconds: float) -> Any:
        """What the first member answers. Raises CrewFault."""
        return self._asked(self._ends[:1], (task, given), seconds)[0]

    def _asked(self, ends: "list[Connection[Any, Any]]", call: tuple[Task, Any], seconds: float) -> list[Any]:
        if self._broken:
            raise CrewFault(self._broken)
        try:
            for end in ends:
                end.send(call)
            answers = [self._answer(end, seconds) for end in ends]
        except (EOFError, OSError):
            self._broken = "a process that measured has died"
            raise CrewFault(self._broken) from None
        if faults := [fault for fault, _ in answers if fault]:
            raise CrewFault(faults[0])
        return [answer for _, answer in answers]

    def _answer(self, end: "Connection[Any, Any]", seconds: float) -> tuple[str | None, Any]:
        if not end.poll(seconds):
            self._broken = f"no answer for {seconds:.0f} s"
            raise CrewFault(self._broken)
        answer: tuple[str | None, Any] = end.recv()
        return answer


def serve(end: "Connection[Any, Any]", setup: Setup) -> None:
    """A member's life."""
    bench = Bench(setup)
    while True:
        try:
            task, given = end.recv()
        except EOFError:
            os._exit(0)
        end.send(_done(task, bench, given))


def _done(task: Task, bench: Bench, given: tuple[Any, ...]) -> tuple[str | None, Any]:
    try:
        return None, task(bench, *given)
    except CudaFault as fault:
        return fault.reason, None
    except Exception as error:  # whatever it is, it becomes a row that says so
        return first_line(error), None

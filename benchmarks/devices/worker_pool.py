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

# Called with the worker's Workbench first; pickled by name.
Task = Callable[..., Any]


class WorkerPoolError(Exception):
    """A task failed, or a worker died or timed out; in the latter cases the pool cannot be used any more."""


class WorkerPool:
    """`count` spawned processes; a context manager."""

    def __init__(self, count: int, setup: WorkerSetup) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connections: list[Connection[Any, Any]] = []
        self._processes: list[SpawnProcess] = []
        self._broken: str | None = None
        for _ in range(count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=run_worker, args=(theirs, setup), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
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
        """The result of each worker. Raises WorkerPoolError."""
        return self._call(self._connections, task, given, seconds)

    def call_first(self, task: Task, *given: Any, seconds: float) -> Any:
        """The result of the first worker. Raises WorkerPoolError."""
        return self._call(self._connections[:1], task, given, seconds)[0]

    def _call(
        self, connections: "list[Connection[Any, Any]]", task: Task, arguments: tuple[Any, ...], seconds: float
    ) -> list[Any]:
        if self._broken:
            raise WorkerPoolError(self._broken)
        try:
            for connection in connections:
                connection.send((task, arguments))
            results = [self._receive(connection, seconds) for connection in connections]
        except (EOFError, OSError):
            self._broken = "a worker process has died"
            raise WorkerPoolError(self._broken) from None
        if faults := [fault for fault, _ in results if fault]:
            raise WorkerPoolError(faults[0])
        return [result for _, result in results]

    def _receive(self, connection: "Connection[Any, Any]", seconds: float) -> tuple[str | None, Any]:
        if not connection.poll(seconds):
            self._broken = f"no result within {seconds:.0f} s"
            raise WorkerPoolError(self._broken)
        answer: tuple[str | None, Any] = connection.recv()
        return answer


def run_worker(connection: "Connection[Any, Any]", setup: WorkerSetup) -> None:
    """Main function of a worker process: run tasks until the connection is closed."""
    bench = Workbench(setup)
    while True:
        try:
            task, given = connection.recv()
        except EOFError:
            os._exit(0)
        connection.send(_run_task(task, bench, given))


def _run_task(task: Task, bench: Workbench, given: tuple[Any, ...]) -> tuple[str | None, Any]:
    try:
        return None, task(bench, *given)
    except CudaError as fault:
        return fault.reason, None
    except Exception as error:  # reported as the reason in the result row
        return first_line(error), None

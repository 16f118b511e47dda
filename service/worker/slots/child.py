"""The slot process: waits for a command, executes it and reports the outcome."""

import asyncio
import os
import signal
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from service.child_process import die_with_parent, lower_priority
from service.malloc import trim_malloc
from service.telemetry import logging
from service.worker.slots.memory import set_memory_limit, tune_malloc
from service.worker.slots.messages import (
    CancelTask,
    Command,
    Outcome,
    Progress,
    ScanDone,
    SlotConfig,
    SlotReady,
    StopSlot,
    TaskCancelled,
    TaskFailed,
)

if TYPE_CHECKING:
    from service.worker.slots.executor import SlotExecutor

PROGRESS_INTERVAL_S = 0.2
# Encoders take all the time they can get; who waits for an answer of the API goes first.
SLOT_NICENESS = 10


class CommandCancelled(Exception):
    """Raised out of the progress call when the supervisor has asked to stop."""


def main(config: SlotConfig, connection: Connection, parent_pid: int) -> None:
    """The process's entry: runs until told to stop or until the supervisor is gone."""
    die_with_parent(parent_pid)
    lower_priority(SLOT_NICENESS)
    logging.configure(config.log_level)
    tune_malloc()
    set_memory_limit(config.memory_mb, config.gpu_memory_mb)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from service.pipeline.native_libraries import disable_avx_gather
    from service.worker.slots.executor import SlotExecutor

    disable_avx_gather()
    with asyncio.Runner() as runner:
        tasks = SlotExecutor(config, runner)
        connection.send(SlotReady(os.getpid()))
        try:
            _serve_commands(tasks, connection, config.idle_s)
        finally:
            tasks.close()


def _serve_commands(executor: "SlotExecutor", connection: Connection, idle_s: float) -> None:
    while True:
        try:
            if not connection.poll(idle_s):
                trim_malloc()
            message = connection.recv()
            if isinstance(message, StopSlot):
                return
            if not isinstance(message, CancelTask):
                outcome = _execute(executor, message, connection)
                connection.send(outcome)
                if isinstance(outcome, TaskFailed) and outcome.restart_slot:
                    os._exit(1)  # a broken CUDA context may hang whoever tidies up
                if isinstance(outcome, ScanDone) and outcome.restart_slot:
                    return
        except (EOFError, BrokenPipeError):
            return


class ProgressReporter:
    """The progress call of a command: tells the supervisor and hears whether to stop, `EVERY_S` at most.

    A message costs both sides 0.1 ms each, more than a small frame takes to encode.
    """

    def __init__(self, connection: Connection) -> None:
        self._pipe, self._due = connection, 0.0

    def __call__(self, frames_done: int) -> None:
        if (now := time.monotonic()) < self._due:
            return
        self._due = now + PROGRESS_INTERVAL_S
        self._pipe.send(Progress(frames_done))
        while self._pipe.poll():
            if isinstance(self._pipe.recv(), CancelTask | StopSlot):
                raise CommandCancelled


def _execute(executor: "SlotExecutor", command: Command, connection: Connection) -> Outcome:
    try:
        return executor.execute(command, ProgressReporter(connection))
    except CommandCancelled:
        return TaskCancelled()
    except MemoryError:
        return TaskFailed("out_of_memory", "the slot ran out of its memory limit (REELMILL_SLOT_MEMORY_MB)")

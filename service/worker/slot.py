"""The slot process: waits for a command, does it, says how it went. Untrusted media is decoded only here."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from service.child_process import end_with_parent, stand_back
from service.plan.placement import REAL_DRIVER
from service.store.database_settings import DatabaseSettings
from service.store.object_settings import ObjectSettings
from service.telemetry import logging
from service.worker.messages import (
    CancelTask,
    Command,
    Outcome,
    Progress,
    Ready,
    ScanDone,
    Stop,
    TaskCancelled,
    TaskFailed,
)
from service.worker.slot_memory import give_back_memory, keep_memory, limit_memory

if TYPE_CHECKING:
    from service.worker.slot_tasks import SlotTasks

EVERY_S = 0.2
NICENESS = 10
"""Encoders take all the time they can get; who waits for an answer of the API goes first."""


@dataclass(frozen=True, slots=True)
class SlotConfig:
    """What a slot needs to reach the shared state, and its bounds; travels to the child by pickle. `driver` is the
    module that opens a GPU, and `gpu_memory_mb` the bound of a slot that has opened one. Without a command for `idle_s`
    seconds it keeps no memory for the next one."""

    database_url: str
    database: DatabaseSettings
    objects: ObjectSettings
    home: Path
    memory_mb: int
    prefetch_mb: int
    gpu_memory_mb: int = 16384
    driver: str = REAL_DRIVER
    log_level: logging.Level = "INFO"
    idle_s: float = 30.0


class Cancelled(Exception):
    """Raised out of the progress call when the supervisor has asked to stop."""


def main(config: SlotConfig, pipe: Connection, parent: int) -> None:
    """The process's entry: runs until told to stop or until the supervisor is gone."""
    end_with_parent(parent)
    stand_back(NICENESS)
    logging.configure(config.log_level)
    keep_memory()
    limit_memory(config.memory_mb, config.gpu_memory_mb)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from service.pipeline.cpu_flags import avoid_gathers
    from service.worker.slot_tasks import SlotTasks

    avoid_gathers()
    with asyncio.Runner() as runner:
        tasks = SlotTasks(config, runner)
        pipe.send(Ready(os.getpid()))
        try:
            _serve(tasks, pipe, config.idle_s)
        finally:
            tasks.close()


def _serve(tasks: "SlotTasks", pipe: Connection, idle_s: float) -> None:
    while True:
        try:
            if not pipe.poll(idle_s):
                give_back_memory()
            message = pipe.recv()
            if isinstance(message, Stop):
                return
            if not isinstance(message, CancelTask):
                outcome = _do(tasks, message, pipe)
                pipe.send(outcome)
                if isinstance(outcome, TaskFailed) and outcome.slot_ends:
                    os._exit(1)  # a broken CUDA context may hang whoever tidies up
                if isinstance(outcome, ScanDone) and outcome.slot_ends:
                    return
        except (EOFError, BrokenPipeError):
            return


class Talk:
    """The progress call of a command: tells the supervisor and hears whether to stop, `EVERY_S` at most.

    A message costs both sides 0.1 ms each, more than a small frame takes to encode.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._due = pipe, 0.0

    def __call__(self, done: int) -> None:
        if (now := time.monotonic()) < self._due:
            return
        self._due = now + EVERY_S
        self._pipe.send(Progress(done))
        while self._pipe.poll():
            if isinstance(self._pipe.recv(), CancelTask | Stop):
                raise Cancelled


def _do(tasks: "SlotTasks", command: Command, pipe: Connection) -> Outcome:
    try:
        return tasks.do(command, Talk(pipe))
    except Cancelled:
        return TaskCancelled()
    except MemoryError:
        return TaskFailed("out_of_memory", "the slot ran out of its memory limit (REELMILL_SLOT_MEMORY_MB)")

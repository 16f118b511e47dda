"""The codec process of a slot: waits for a command, executes it and reports the outcome."""

import asyncio
import mimetypes
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import structlog

from service.child_process import die_with_parent, drop_privileges, lower_priority, name_process
from service.errors import Interruption
from service.malloc import trim_malloc
from service.scratch import FULL_ERRORS, WORKING_FILES, use_working_files
from service.telemetry import logging
from service.worker.memory import set_memory_limit, tune_malloc
from service.worker.sandbox import Walls, confine
from service.worker.slots.current_item import CurrentItem
from service.worker.slots.messages import (
    CancelTask,
    CodecConfig,
    Command,
    Outcome,
    Progress,
    SlotReady,
    StopSlot,
    StoreCall,
    StoreReply,
    TaskCancelled,
    TaskFailed,
)

log = structlog.get_logger("slot")
PROCESS_NAME = "reelmill-codec"
PROGRESS_INTERVAL_S = 0.2
MAX_REASON_LENGTH = 300
# Encoders use all the CPU they can get; API requests come first.
SLOT_NICENESS = 10

Execute = Callable[[Command, "ProgressReporter"], Outcome]


class CommandCancelled(Interruption):
    """Raised by the progress callback when the supervisor has asked to stop."""


class SupervisorGone(Interruption):
    """Raised by the progress callback when nobody listens any more."""


def main(
    config: CodecConfig, connection: Connection, objects: Connection, parent_pid: int, current: CurrentItem
) -> None:
    """Entry point of the codec process: serve commands until told to stop or until the supervisor dies.

    `connection` is to the supervisor, `objects` to the object process.
    """
    die_with_parent(parent_pid)
    name_process(PROCESS_NAME)
    lower_priority(SLOT_NICENESS)
    drop_privileges()
    logging.configure(config.log_level)
    tune_malloc()
    set_memory_limit(config.memory_mb, config.gpu_memory_mb)
    mimetypes.init()  # reads files of /etc when it is first used
    sandbox_gaps = _shut_in(config)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Imported only now, because codecs allocate memory and start threads.
    from service.pipeline.memory_limit import remember_room
    from service.pipeline.native_libraries import disable_avx_gather
    from service.worker.objects.client import ObjectClient
    from service.worker.slots.executor import SlotExecutor

    disable_avx_gather()
    with asyncio.Runner() as runner:
        executor = SlotExecutor(config, runner, ObjectClient(objects))
        remember_room()
        connection.send(SlotReady(os.getpid(), sandbox_gaps))
        try:
            _serve_commands(executor.execute, connection, current, config.idle_s)
        finally:
            executor.close()


def _shut_in(config: CodecConfig) -> tuple[str, ...]:
    """From here on the process has its working files, and no others, no network and no other process."""
    files: tuple[Path, ...] = ()
    if config.scratch is not None:
        use_working_files(config.scratch)
        files = tuple(config.scratch / name for name in WORKING_FILES)
    if not config.confined:
        return ("codec processes with a GPU have no sandbox yet",)
    return confine(Walls(write=files))


def _serve_commands(execute: Execute, connection: Connection, current: CurrentItem, idle_s: float) -> None:
    while True:
        try:
            if not connection.poll(idle_s):
                trim_malloc()
            message = connection.recv()
            if isinstance(message, StopSlot):
                return
            if not isinstance(message, CancelTask):
                outcome = _run_command(execute, message, ProgressReporter(connection, current))
                connection.send(outcome)
                if isinstance(outcome, TaskFailed) and outcome.restart_slot:
                    os._exit(1)  # a broken CUDA context may hang the normal exit
        except (EOFError, BrokenPipeError, SupervisorGone):
            return


def _run_command(execute: Execute, command: Command, supervisor: "ProgressReporter") -> Outcome:
    try:
        return execute(command, supervisor)
    except CommandCancelled:
        return TaskCancelled()
    except SupervisorGone:
        raise
    except Exception as error:
        if getattr(error, "errno", None) in FULL_ERRORS:  # objects have errors of their own
            return TaskFailed("scratch_full", "the worker has no space left for temporary files (TMPDIR)", retry=True)
        log.exception("a command failed unexpectedly", command=type(command).__name__)
        return TaskFailed("unexpected", describe_unexpected(error), retry=True, restart_slot=True)


def describe_unexpected(error: Exception) -> str:
    """What happened, and during which stage, in one line; the log has the traceback."""
    text = " ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())[:1]])
    return f"an unexpected error ended the work ({' '.join(text.split())[:MAX_REASON_LENGTH]}): see the worker's log"


class ProgressReporter:
    """The supervisor, as a command sees it.

    Reports progress and checks for cancellation, at most every `PROGRESS_INTERVAL_S`: a message costs each side 0.1 ms,
    more than encoding a small frame.
    """

    def __init__(self, connection: Connection, current: CurrentItem) -> None:
        self._connection, self._current, self._due_at = connection, current, 0.0

    def begin(self, item: str) -> None:
        """From here on it is this frame or object that the slot works on: should it end the slot, that is known."""
        self._current.write(item)

    def __call__(self, frames_done: int) -> None:
        if (now := time.monotonic()) < self._due_at:
            return
        self._due_at = now + PROGRESS_INTERVAL_S
        try:
            self._connection.send(Progress(frames_done))
            while self._connection.poll():
                if isinstance(self._connection.recv(), CancelTask | StopSlot):
                    raise CommandCancelled
        except (EOFError, OSError) as error:
            raise SupervisorGone from error

    def call_store(self, method: str, *arguments: Any) -> Any:
        """What a method of the scan's store returns, which the supervisor calls. Raises CommandCancelled."""
        try:
            self._connection.send(StoreCall(method, arguments))
            while not isinstance(reply := self._connection.recv(), StoreReply):
                if isinstance(reply, CancelTask | StopSlot):
                    raise CommandCancelled
        except (EOFError, OSError) as error:
            raise SupervisorGone from error
        if reply.error is not None:
            raise RuntimeError(reply.error)
        return reply.value

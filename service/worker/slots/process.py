"""The supervisor's side of a slot: starts the child process, sends commands, reads events, kills it."""

import asyncio
import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any, Self

from service.worker.slots.child import main
from service.worker.slots.messages import (
    CancelTask,
    Command,
    Outcome,
    Progress,
    ScanDataset,
    ScanDone,
    SlotConfig,
    SlotEvent,
    SlotReady,
    StopSlot,
    TaskFailed,
)

SPAWN_CONTEXT = multiprocessing.get_context("spawn")
START_TIMEOUT_S = 60.0
CANCEL_GRACE_S = 2.0


class SlotDied(Exception):
    """The process ended before its command did."""


class _Child:
    """A started process, and the pipe to it. After its last event comes None."""

    def __init__(self, config: SlotConfig, number: int) -> None:
        ours, theirs = SPAWN_CONTEXT.Pipe()
        self.events: asyncio.Queue[SlotEvent | None] = asyncio.Queue()
        self.process: BaseProcess = SPAWN_CONTEXT.Process(
            target=main, args=(config, theirs, os.getpid()), name=f"slot-{number}"
        )
        self.process.start()
        theirs.close()
        self._connection = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read_events)

    @classmethod
    async def start(cls, config: SlotConfig, number: int) -> Self:
        """Spawn the process and wait until its codecs are imported. Raises SlotDied."""
        child = cls(config, number)
        try:
            first = await asyncio.wait_for(child.events.get(), START_TIMEOUT_S)
            if not isinstance(first, SlotReady):
                raise SlotDied("the slot process ended while it started")
        except BaseException:
            child.kill()
            await child.wait_exit()
            raise
        return child

    def send(self, message: object) -> None:
        """Raises SlotDied."""
        try:
            self._connection.send(message)
        except OSError as error:
            raise SlotDied("the slot process is gone") from error

    def _read_events(self) -> None:
        try:
            while self._connection.poll():
                self.events.put_nowait(self._connection.recv())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            self._connection.close()
            self.events.put_nowait(None)

    def kill(self) -> None:
        if self.process.pid is not None and self.process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def wait_exit(self) -> None:
        """Wait until the process, which was asked to exit, has done so; kill it if it does not."""
        await asyncio.to_thread(self.process.join, CANCEL_GRACE_S)
        self.kill()
        await asyncio.to_thread(self.process.join, CANCEL_GRACE_S)

    async def exit_reason(self) -> str:
        await asyncio.to_thread(self.process.join, 1)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"the slot process was ended by {signal.Signals(-code).name}"
        return f"the slot process ended with exit code {code}"


class SlotProcess:
    """A slot, seen from the supervisor. It executes one command at a time."""

    def __init__(self, config: SlotConfig, number: int) -> None:
        self._config, self.number = config, number
        self._child: _Child | None = None
        # The process that takes over after a scan, and the end of those that were replaced.
        self._successor: asyncio.Task[_Child] | None = None
        self._exiting: set[asyncio.Task[Any]] = set()
        self.progress = 0
        self.last_progress_at = 0.0

    @property
    def pid(self) -> int | None:
        return self._child.process.pid if self._child else None

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.process.is_alive()

    async def start(self) -> None:
        """Get a process that is ready for commands: the successor of the last one, or a new one. Raises SlotDied."""
        successor, self._successor = self._successor, None
        if successor is not None:
            with suppress(SlotDied, TimeoutError):
                self._child = await successor
                return
        self._child = await _Child.start(self._config, self.number)

    async def execute(self, command: Command) -> Outcome:
        """Execute one command and update `progress` meanwhile. Raises SlotDied."""
        self.progress, self.last_progress_at = 0, asyncio.get_running_loop().time()
        child = self._require_child()
        child.send(command)
        if isinstance(command, ScanDataset):
            self._successor = asyncio.create_task(_Child.start(self._config, self.number))
        try:
            outcome = await self._wait_outcome(child)
            if isinstance(outcome, TaskFailed) and outcome.restart_slot:
                await child.wait_exit()
            if isinstance(outcome, ScanDone) and outcome.restart_slot:
                self._child = None
                self._await_exit(asyncio.create_task(child.wait_exit()))
            return outcome
        finally:
            if self.is_alive:
                self._drop_successor()

    async def _wait_outcome(self, child: _Child) -> Outcome:
        while (event := await child.events.get()) is not None:
            self.last_progress_at = asyncio.get_running_loop().time()
            if isinstance(event, Progress):
                self.progress = event.frames_done
            elif not isinstance(event, SlotReady):
                return event
        raise SlotDied(await child.exit_reason())

    async def cancel(self) -> None:
        """Ask the current command to stop; kill the process if it does not within two seconds."""
        with suppress(SlotDied):
            self._require_child().send(CancelTask())
        await asyncio.sleep(CANCEL_GRACE_S)
        self.kill()

    def kill(self) -> None:
        """Kill the process now: `execute` raises SlotDied."""
        if self._child is not None:
            self._child.kill()

    async def stop(self) -> None:
        """Ask the process to exit; kill it if it does not."""
        self._drop_successor()
        if self._child is not None:
            with suppress(SlotDied):
                self._child.send(StopSlot())
            await self._child.wait_exit()
        await asyncio.gather(*self._exiting, return_exceptions=True)

    def _require_child(self) -> _Child:
        if self._child is None:
            raise SlotDied("the slot process is gone")
        return self._child

    def _await_exit(self, exiting: "asyncio.Task[Any]") -> None:
        """Let a process end while the slot goes on; `stop` waits for it."""
        self._exiting.add(exiting)
        exiting.add_done_callback(self._exiting.discard)

    def _drop_successor(self) -> None:
        """End a successor that is not needed."""
        successor, self._successor = self._successor, None
        if successor is None:
            return
        if successor.cancel():
            self._await_exit(successor)
        elif successor.exception() is None:
            child = successor.result()
            child.kill()
            self._await_exit(asyncio.create_task(child.wait_exit()))

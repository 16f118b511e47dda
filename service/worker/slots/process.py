"""The supervisor's side of a slot: starts the child process, sends commands, reads events, kills it."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from service.errors import first_line
from service.scratch import make_scratch, make_working_files, remove_scratch
from service.worker.objects.child import ObjectsConfig
from service.worker.objects.grants import NOTHING, Grant
from service.worker.objects.process import ObjectProcess
from service.worker.scan.store import ScanStore, ScanTarget
from service.worker.slots.channel import SlotChannel
from service.worker.slots.child import SLOT_NICENESS, main
from service.worker.slots.current_item import CurrentItem
from service.worker.slots.messages import (
    CancelTask,
    CodecConfig,
    Command,
    Outcome,
    Progress,
    SlotConfig,
    SlotEvent,
    SlotReady,
    StopSlot,
    StoreCall,
    StoreReply,
    TaskFailed,
    grant_for,
    grant_for_scan,
)
from service.worker.slots.unpickling import UntrustedMessage, require_answer
from service.worker.start_watch import StartWatch

log = structlog.get_logger("worker")
SPAWN_CONTEXT = multiprocessing.get_context("spawn")
START_TIMEOUT_S, START_CHECK_S = 60.0, 2.0
CANCEL_GRACE_S = 2.0
# What a codec process runs: with its config, its ends of the pipes to the supervisor and to the object process, the
# supervisor's process id, and what it works on.
Run = Callable[[CodecConfig, Connection, Connection, int, CurrentItem], None]


# Signals that say that the program itself is broken, or its input breaks it. Any other came from outside.
CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGSYS", "SIGTRAP")


class SlotDied(Exception):
    """The process ended before its command did, while it worked on `item`. `code`: it crashed (`slot_died`), was killed
    by somebody else (`slot_killed`), or by its supervisor, which stops (`worker_stopped`)."""

    def __init__(self, reason: str, code: str = "slot_died", item: str = "") -> None:
        super().__init__(reason)
        self.code, self.item = code, item


class SlotProcess:
    """The two processes of a slot, seen from the supervisor: a codec process, which executes one command at a time, and
    an object process, which reads and writes for it. `run` is what the codec process runs."""

    def __init__(self, config: SlotConfig, number: int, run: Run = main) -> None:
        self.config, self.number, self._run = config, number, run
        self._objects: ObjectProcess | None = None
        self._process: multiprocessing.process.BaseProcess | None = None
        self._channel: SlotChannel | None = None
        self.progress = 0
        self.last_progress_at = 0.0
        self._stopping = False
        self._current = CurrentItem()
        self._scratch: Path | None = None
        self.sandbox_gaps: tuple[str, ...] = ()

    @property
    def pid(self) -> int | None:
        """That of the codec process."""
        return self._process.pid if self._process else None

    @property
    def is_alive(self) -> bool:
        """Whether both processes are."""
        codec, objects = self._process, self._objects
        return codec is not None and codec.is_alive() and objects is not None and objects.is_alive

    async def start(self) -> None:
        """Spawn what does not run, and wait until the codecs are imported. Raises SlotDied."""
        if self._process is not None and self._process.is_alive():
            self.kill()  # its object process has ended
            await self._wait_exit()
        clock = asyncio.get_running_loop().time
        self.last_progress_at = clock() + START_TIMEOUT_S  # a task that waits for it does not hang
        ours, theirs = SPAWN_CONTEXT.Pipe()
        try:
            objects_end = self._prepare_objects().attach()
        except OSError as error:  # no room for working files
            raise SlotDied(f"the slot could not be started: {first_line(error)}", "slot_killed") from error
        config = replace(self.config.codec, scratch=self._scratch)
        arguments = (config, theirs, objects_end, os.getpid(), self._current)
        self._process = SPAWN_CONTEXT.Process(target=self._run, args=arguments, name=f"slot-{self.number}")
        self._process.start()
        theirs.close()
        objects_end.close()
        if self._channel is not None:
            self._channel.close()
        self._channel = SlotChannel(ours, self._process)
        self.sandbox_gaps = (await self._receive_ready(self._channel)).sandbox_gaps
        self.last_progress_at = clock()

    async def _receive_ready(self, channel: SlotChannel) -> SlotReady:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                first = await self._first_event(channel)
        except TimeoutError:
            self.kill()
            raise SlotDied(f"the slot process did not start within {START_TIMEOUT_S:.0f} s", "slot_killed") from None
        if not isinstance(first, SlotReady):
            self.kill()
            raise SlotDied("the slot process ended while it started")
        return first

    async def _first_event(self, channel: SlotChannel) -> SlotEvent | None:
        """Raises SlotDied if the process hangs while it starts."""
        assert self._process is not None and self._process.pid is not None
        watch, receiving = StartWatch(self._process.pid), asyncio.ensure_future(channel.receive())
        try:
            while not (await asyncio.wait((receiving,), timeout=START_CHECK_S))[0]:
                if watch.is_stalled():
                    self.kill()
                    raise SlotDied("the slot process hung while it started", "slot_killed")
            return receiving.result()
        finally:
            receiving.cancel()

    def _prepare_objects(self) -> ObjectProcess:
        """The object process for the next codec process, whose working files are empty."""
        if self._scratch is None or not self._scratch.is_dir():
            self._scratch = make_scratch()
            if self._objects is not None:
                self._objects.kill()
            self._objects = None
        make_working_files(self._scratch)
        if self._objects is None:
            codec = self.config.codec
            config = ObjectsConfig(
                self.config.objects,
                self.config.home,
                codec.memory_mb,
                self._scratch,
                SLOT_NICENESS,
                codec.log_level,
                codec.confined,
            )
            self._objects = ObjectProcess(config, f"slot-{self.number}")
        return self._objects

    async def execute(self, command: Command, store: ScanStore | None = None) -> Outcome:
        """Execute one command and update `progress` meanwhile. A scan writes to `store`. Raises SlotDied."""
        self.progress, self.last_progress_at = 0, asyncio.get_running_loop().time()
        self._current.write("")
        await self._grant(grant_for(command, self.config.codec.bucket))
        self._send(command)
        while (event := await self._receive()) is not None:
            self.last_progress_at = asyncio.get_running_loop().time()
            if isinstance(event, Progress):
                self.progress = event.frames_done
            elif isinstance(event, StoreCall):
                await self._answer_store_call(store, event)
                self.last_progress_at = asyncio.get_running_loop().time()
            elif not isinstance(event, SlotReady):
                await self._grant(NOTHING)
                return await self._take(command, event)
        raise await self._death()

    async def _grant(self, grant: Grant) -> None:
        if self._objects is not None:
            await self._objects.grant(grant)

    async def _answer_store_call(self, store: ScanStore | None, call: StoreCall) -> None:
        """A scan that has begun may read what is to be scanned."""
        reply = await answer_store_call(store, call)
        if isinstance(reply.value, ScanTarget):
            await self._grant(grant_for_scan(reply.value))
        self._send(reply)

    async def _take(self, command: Command, outcome: Outcome) -> Outcome:
        """The outcome, if it is one of this command; otherwise the slot is killed, as it may have been taken over."""
        try:
            require_answer(command, outcome)
        except UntrustedMessage as error:
            log.error("a slot sent what is no answer, and is killed", slot=self.number, reason=str(error))
            self.kill()
            outcome = TaskFailed("untrusted", f"the slot sent {error}", retry=True, restart_slot=True)
        if isinstance(outcome, TaskFailed) and outcome.restart_slot:
            await self._wait_exit()
        return outcome

    async def cancel(self) -> None:
        """Ask the current command to stop; kill the process if it does not within two seconds."""
        with suppress(SlotDied):
            self._send(CancelTask())
        await asyncio.sleep(CANCEL_GRACE_S)
        self.kill()

    def stop_now(self) -> None:
        """Kill both processes, because the worker stops."""
        self._stopping = True
        self.kill()
        self.kill_objects()

    async def has_responsive_objects(self) -> bool:
        """Whether the object process works; one that has ended does not count."""
        return self._objects is None or not self._objects.is_alive or await self._objects.is_responsive()

    def kill_objects(self) -> None:
        """Kill the object process: the command ends with an unavailable store, and is tried again."""
        if self._objects is not None:
            self._objects.kill()

    def kill(self) -> None:
        """Kill the codec process now: `execute` raises SlotDied."""
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
        if self._channel is not None:
            self._channel.close()

    async def stop(self) -> None:
        """Ask the process to exit; kill it if it does not."""
        with suppress(SlotDied):
            self._send(StopSlot())
        await self._wait_exit()
        if self._objects is not None:
            await self._objects.stop()
        remove_scratch(self._scratch)

    async def _wait_exit(self) -> None:
        """Wait for the process to exit, so that the next command gets a new one."""
        if self._process is not None:
            await asyncio.to_thread(self._process.join, CANCEL_GRACE_S)
            self.kill()
            await asyncio.to_thread(self._process.join, CANCEL_GRACE_S)

    def _send(self, message: object) -> None:
        if self._channel is None:
            raise SlotDied("the slot process was not started")
        self._channel.send(message)

    async def _receive(self) -> SlotEvent | None:
        return None if self._channel is None else await self._channel.receive()

    async def _death(self) -> SlotDied:
        """Why the process has ended."""
        if self._process is not None:
            await asyncio.to_thread(self._process.join, 1)
        if self._stopping:
            return SlotDied("the worker was stopped", "worker_stopped")
        code = self._process.exitcode if self._process else None
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            kind = "slot_died" if name in CRASHES else "slot_killed"
            return SlotDied(f"the slot process was ended by {name}", kind, self._current.read())
        return SlotDied(f"the slot process ended with exit code {code}", item=self._current.read())


STORE_METHODS = frozenset({"begin", "advance", "reuse", "stage", "sample", "finish_frames", "finish_videos"})


async def answer_store_call(store: ScanStore | None, call: StoreCall) -> StoreReply:
    """Call the method for the slot. What it raises is logged, and ends the slot's command."""
    try:
        if store is None or call.method not in STORE_METHODS:
            raise ValueError(f"this command has no store with the method {call.method!r:.40}")
        return StoreReply(await getattr(store, call.method)(*call.arguments))
    except Exception as error:
        log.warning("a scan could not be written", method=str(call.method)[:40], reason=first_line(error))
        return StoreReply(error=f"the scan could not be written ({type(error).__name__})")

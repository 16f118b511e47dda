"""The supervisor's side of an object process: starts it, tells it what a command may reach, and kills it."""

import asyncio
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from service.worker.objects.child import Attach, Done, ObjectsConfig, Ping, main
from service.worker.objects.grants import Grant
from service.worker.start_watch import StartWatch

SPAWN_CONTEXT = multiprocessing.get_context("spawn")
PING_TIMEOUT_S, START_TIMEOUT_S = 5.0, 60.0


class ObjectProcess:
    """The object process of one slot. It outlives the codec processes that it serves."""

    def __init__(self, config: ObjectsConfig, name: str) -> None:
        self._config, self._name = config, name
        self._process: multiprocessing.process.BaseProcess | None = None
        self._control: Connection | None = None
        self._has_answered, self._started_at = False, 0.0
        self._start_watch: StartWatch | None = None
        # Messages whose answers are still to come: those to a process that starts.
        self._unanswered = 0
        self._asking = threading.Lock()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=name)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_alive(self) -> bool:
        return self._control is not None and self._process is not None and self._process.is_alive()

    def attach(self) -> Connection:
        """The end of a new codec process. Starts the object process if there is none."""
        if not self.is_alive:
            self._start()
        assert self._process is not None and self._process.pid is not None and self._control is not None
        ours, theirs = SPAWN_CONTEXT.Pipe()
        with suppress(OSError), ours, self._asking:  # if it has just ended, the codec process notices
            self._control.send(Attach())
            send_handle(self._control, ours.fileno(), self._process.pid)
        return theirs

    def _start(self) -> None:
        self.kill()
        self._control, theirs = SPAWN_CONTEXT.Pipe()
        self._process = SPAWN_CONTEXT.Process(
            target=main, args=(self._config, theirs, os.getpid()), name=f"{self._name}-objects"
        )
        self._process.start()
        self._has_answered, self._started_at = False, time.monotonic()
        self._unanswered = 0
        self._start_watch = StartWatch(self._process.pid) if self._process.pid else None
        theirs.close()

    async def grant(self, grant: Grant) -> None:
        """What the codec process may reach from now on."""
        await self._ask_on_thread(grant, None)

    async def is_responsive(self) -> bool:
        """Whether it works: a stopped one would be why its codec process seems to hang. It has time to start, unless it
        does nothing. To be asked every few seconds."""
        if await self._ask_on_thread(Ping(), PING_TIMEOUT_S):
            return True
        starts = not self._has_answered and time.monotonic() - self._started_at < START_TIMEOUT_S
        return starts and (self._start_watch is None or not self._start_watch.is_stalled())

    async def _ask_on_thread(self, message: Grant | Ping, timeout_s: float | None) -> bool:
        """On threads of its own: those that wait for a process that was stopped keep nobody else waiting."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, message, timeout_s)

    def _ask(self, message: Grant | Ping, timeout_s: float | None = None) -> bool:
        """Whether the process has answered. One that has ended needs no answer: its codec process notices."""
        if not self._asking.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        try:
            if (control := self._control) is None:
                return True
            control.send(message)
            self._unanswered += 1
            while self._unanswered:
                if not control.poll(timeout_s) or not isinstance(control.recv(), Done):
                    return False
                self._unanswered, self._has_answered = self._unanswered - 1, True
            return True
        except (EOFError, OSError):
            return True
        finally:
            self._asking.release()

    def kill(self) -> None:
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
        self._control = None  # closed as soon as nobody waits for its answer

    async def stop(self) -> None:
        """Kill it and wait: it keeps nothing that would be lost."""
        self.kill()
        self._threads.shutdown(wait=False)
        if self._process is not None:
            await asyncio.to_thread(self._process.join, PING_TIMEOUT_S)

"""The supervisor's side of an object process: starts it, tells it what a command may reach, and kills it."""

import asyncio
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from service.worker.objects.child import Attach, Done, ObjectsConfig, Ping, main
from service.worker.objects.grants import Grant
from service.worker.start_watch import StartWatch

SPAWN_CONTEXT = multiprocessing.get_context("spawn")
PING_TIMEOUT_S, START_TIMEOUT_S = 5.0, 60.0


@dataclass(slots=True)
class ControlLine:
    """The connection to one process, and how many messages it has not answered: it may still start."""

    connection: Connection
    unanswered: int = 0

    def receive_answer(self, deadline: float | None) -> bool:
        """The next answer; false if there is none by then (a time of the monotonic clock). Raises EOFError, OSError."""
        left_s = None if deadline is None else max(deadline - time.monotonic(), 0)
        if not self.connection.poll(left_s) or not isinstance(self.connection.recv(), Done):
            return False
        self.unanswered -= 1
        return True


class ObjectProcess:
    """The object process of one slot. It outlives the codec processes that it serves."""

    def __init__(self, config: ObjectsConfig, name: str) -> None:
        self._config, self._name = config, name
        self._process: multiprocessing.process.BaseProcess | None = None
        self._control: ControlLine | None = None
        self._has_answered, self._started_at = False, 0.0
        self._start_watch: StartWatch | None = None
        # One question at a time; what is sent between, such as a new codec process, does not wait for the answer.
        self._asking, self._sending = threading.Lock(), threading.Lock()
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
        with suppress(OSError), ours, self._sending:  # if it has just ended, the codec process notices
            self._control.connection.send(Attach())
            send_handle(self._control.connection, ours.fileno(), self._process.pid)
        return theirs

    def _start(self) -> None:
        self.kill()
        connection, theirs = SPAWN_CONTEXT.Pipe()
        self._control = ControlLine(connection)
        self._process = SPAWN_CONTEXT.Process(
            target=main, args=(self._config, theirs, os.getpid()), name=f"{self._name}-objects"
        )
        self._process.start()
        self._has_answered, self._started_at = False, time.monotonic()
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
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not self._asking.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        try:
            if (control := self._control) is None:
                return True
            with self._sending:
                control.connection.send(message)
            control.unanswered += 1
            while control.unanswered:
                if not control.receive_answer(deadline):
                    return False
                self._has_answered = True
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

"""The supervisor's side of an object process: starts it, tells it what a command may reach, and kills it."""

import asyncio
import multiprocessing
import os
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from service.worker.objects.grants import NOTHING, Grant
from service.worker.objects.server import Attach, ObjectsConfig, Ping, main

SPAWN_CONTEXT = multiprocessing.get_context("spawn")
PING_TIMEOUT_S = 2.0


class ObjectProcess:
    """The object process of one slot. It outlives the codec processes that it serves."""

    def __init__(self, config: ObjectsConfig, name: str) -> None:
        self._config, self._name = config, name
        self._process: multiprocessing.process.BaseProcess | None = None
        self._control: Connection | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def attach(self) -> Connection:
        """The end of a new codec process. Starts the object process if there is none."""
        if not self.is_alive:
            self._start()
        assert self._process is not None and self._process.pid is not None and self._control is not None
        ours, theirs = SPAWN_CONTEXT.Pipe()
        with suppress(OSError), ours:  # if it has just ended, the codec process notices
            self._control.send(NOTHING)
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
        theirs.close()

    async def grant(self, grant: Grant) -> None:
        """What the codec process may reach from now on. On a thread, because the process may have been stopped."""
        if (control := self._control) is not None:
            with suppress(OSError):  # it has ended: the codec process notices
                await asyncio.to_thread(control.send, grant)

    async def is_responsive(self) -> bool:
        """Whether it works: a stopped one is why its codec process seems to hang."""
        return await asyncio.to_thread(self._ping)

    def _ping(self) -> bool:
        control = self._control
        with suppress(EOFError, OSError):
            if control is not None:
                control.send(Ping())
                return control.poll(PING_TIMEOUT_S) and isinstance(control.recv(), Ping)
        return False

    def kill(self) -> None:
        if self._process is not None and self._process.pid is not None:
            self._process.kill()
        if self._control is not None:
            with suppress(OSError):
                self._control.close()
            self._control = None

    async def stop(self) -> None:
        """Kill it and wait: it keeps nothing that would be lost."""
        self.kill()
        if self._process is not None:
            await asyncio.to_thread(self._process.join, PING_TIMEOUT_S)

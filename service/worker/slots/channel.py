"""The supervisor's end of the pipe to a codec process. Threads read and write it, because the slot may stop anywhere:
within a message, or without reading what it is sent."""

import asyncio
import os
import pickle
import socket
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue

import structlog

from service.worker.slots.messages import SlotEvent
from service.worker.slots.unpickling import UntrustedMessage, load_event

log = structlog.get_logger("worker")
# The longest are the times of all pictures of a dataset of videos.
MAX_MESSAGE_BYTES = 1 << 30
# Messages that wait for the other side: a slot that sends more has to wait, and one that reads fewer is killed.
MAX_RECEIVED, MAX_UNSENT = 16, 16


class SlotChannel:
    """Messages to and from one slot process, which is killed if it does not keep to the rules."""

    def __init__(self, connection: Connection, process: BaseProcess) -> None:
        self._connection, self._process = connection, process
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[SlotEvent | None] = asyncio.Queue()
        self._room = threading.Semaphore(MAX_RECEIVED)
        self._unsent: SimpleQueue[bytes | None] = SimpleQueue()
        self._closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, daemon=True).start()

    async def receive(self) -> SlotEvent | None:
        """The next message; None, for good, when the process has ended."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
        else:
            self._room.release()
        return event

    def send(self, message: object) -> None:
        """Send it as soon as the slot reads. A slot that reads nothing is killed."""
        if self._unsent.qsize() >= MAX_UNSENT:
            log.error("a slot does not read what it is sent, and is killed", slot=self._process.name)
            self._process.kill()
        self._unsent.put(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def close(self) -> None:
        """End both directions, even if a child of the slot still holds the pipe open. What waits for a message gets
        None."""
        self._closed = True
        with suppress(OSError):  # the slot has closed it
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._room.release()

    def _read(self) -> None:
        try:
            while not self._closed:
                self._deliver(load_event(self._connection.recv_bytes(MAX_MESSAGE_BYTES)))
                self._room.acquire()
        except UntrustedMessage as error:
            log.error("a slot sent what is no message, and is killed", slot=self._process.name, reason=str(error))
            self._process.kill()
        except (EOFError, OSError):
            pass  # the process has ended
        self._unsent.put(None)
        self._deliver(None)

    def _deliver(self, event: SlotEvent | None) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def _write(self) -> None:
        with suppress(OSError):  # the process has ended
            while (data := self._unsent.get()) is not None:
                self._connection.send_bytes(data)
        self._reader.join()
        self._connection.close()

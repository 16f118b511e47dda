"""Does for a codec process what its command allows: reads and writes objects, with the keys of the object store."""

import asyncio
import io
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from service.errors import first_line
from service.plan.render_plan import ObjectRef
from service.scratch import WORKING_FILES
from service.store.objects.drivers import open_object_store
from service.store.objects.object_store import ObjectStore, ObjectStoreError, ObjectVersion, ReadResult
from service.store.settings import ObjectSettings
from service.worker.fetch.readers import FetchStats, FileReader, ObjectReader, open_reader
from service.worker.objects.grants import Permissions
from service.worker.objects.wire import Answer, MalformedRequest, Request, Wire

log = structlog.get_logger("slot")
# A codec process reads at most 16 objects at the same time, and lists one prefix.
MAX_CALLS, MAX_LISTINGS = 64, 2
MAX_READ_BYTES = 512 * 2**20
# Of a file, more is read by the codec process itself: to send 25 MB takes 10 ms of CPU more than to read it, to send
# the open file 1 ms.
MAX_SENT_BYTES = 2**20


class ObjectServer:
    """Serves the requests of one codec process at a time, as far as `permissions` allow."""

    def __init__(self, settings: ObjectSettings, home: Path, scratch: Path) -> None:
        self.permissions = Permissions(settings.bucket)
        self.store: ObjectStore = open_object_store(settings, home)
        self.reader: ObjectReader = open_reader(settings, home, FetchStats())
        self.scratch = scratch
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="object-store", daemon=True).start()
        self._session: Session | None = None

    def attach(self, end: socket.socket) -> None:
        """Serve this socket from now on, and no other."""
        if self._session is not None:
            self._session.close()
        self._session = Session(self, Wire(end))
        threading.Thread(target=self._session.serve, name="requests", daemon=True).start()


class Session:
    """The requests of one codec process."""

    def __init__(self, server: ObjectServer, wire: Wire) -> None:
        self._server, self._wire = server, wire
        self._calls: dict[int, Future[Any]] = {}
        self._listings: dict[int, AsyncIterator[Any]] = {}
        self._room = threading.Semaphore(MAX_CALLS)
        self._methods: dict[str, Callable[[Request], Future[Any]]] = {
            "read": self._read,
            "get": self._on_loop(self._get),
            "head": self._on_loop(self._head),
            "list": self._on_loop(self._list),
            "list_skipped": self._on_loop(self._list),
            "put": self._on_loop(self._put),
            "put_file": self._on_loop(self._put_file),
        }

    def serve(self) -> None:
        """Until the codec process ends, or sends what is no request."""
        try:
            while True:
                self._answer(self._wire.receive_request())
        except MalformedRequest as error:
            log.error("a codec process sent what is no request", reason=str(error))
        except (EOFError, OSError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        self._wire.close()
        for call in list(self._calls.values()):
            call.cancel()

    def _answer(self, request: Request) -> None:
        """Start what was asked for; the answer is sent when it is done. Raises MalformedRequest."""
        if request.method == "cancel":
            if (call := self._calls.get(request.argument(0, int))) is not None:
                call.cancel()
            return
        if request.method == "add_transient":
            self._server.permissions.add_transient(request.argument(0, dict))
            return
        if (method := self._methods.get(request.method)) is None:
            raise MalformedRequest("a request of an unknown method")
        self._room.acquire()
        call = method(request)
        self._calls[request.number] = call
        call.add_done_callback(lambda done: self._send(request.number, done))

    def _send(self, number: int, call: "Future[Any]") -> None:
        self._calls.pop(number, None)
        self._room.release()
        if call.cancelled():
            return
        with suppress(OSError):  # the codec process has ended
            self._wire.send_answer(_to_answer(number, call))
        if call.exception() is None and isinstance(file := call.result(), io.IOBase):
            file.close()

    def _on_loop(self, method: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], "Future[Any]"]:
        """The same, run on the event loop of the object store."""

        async def call(request: Request) -> Any:
            return await method(request)

        return lambda request: asyncio.run_coroutine_threadsafe(call(request), self._server.loop)

    def _read(self, request: Request) -> "Future[Any]":
        ref = self._ref(request)
        if not self._server.permissions.grant.may_read(ref):
            return _refuse(ref)
        version = ObjectVersion(ref, request.argument(2, str), request.argument(3, int))
        start, stop, limit = (request.argument(place, int) for place in (4, 5, 6))
        span = None if stop < 0 else (start, stop)
        if not 0 <= limit <= MAX_READ_BYTES or (span and not 0 <= start <= stop <= start + MAX_READ_BYTES):
            raise MalformedRequest("a read of too many bytes")
        reader = self._server.reader
        length = version.size if span is None else stop - start
        if isinstance(reader, FileReader) and not 0 < length <= MAX_SENT_BYTES:
            return reader.submit_open(version)
        return reader.submit(version, span, limit)

    async def _get(self, request: Request) -> bytes:
        ref = self._readable(request)
        start, stop = request.argument(2, int), request.argument(3, int)
        return await self._server.store.get(ref, start, None if stop < 0 else stop, request.argument(4, str))

    async def _head(self, request: Request) -> Any:
        return await self._server.store.head(self._readable(request))

    async def _list(self, request: Request) -> Any:
        """The next page of a listing, which the codec process numbers; None at its end."""
        prefix, number = self._ref(request), request.argument(2, int)
        if number not in self._listings:
            if not self._server.permissions.grant.may_list(prefix):
                raise _refusal(prefix)
            while len(self._listings) >= MAX_LISTINGS:  # of commands that were cancelled
                del self._listings[next(iter(self._listings))]
            self._listings[number] = self._open_listing(request, prefix)
        try:
            return await anext(self._listings[number])
        except StopAsyncIteration:
            self._listings.pop(number, None)
            return None
        except ObjectStoreError:
            self._listings.pop(number, None)
            raise

    def _open_listing(self, request: Request, prefix: ObjectRef) -> AsyncIterator[Any]:
        if request.method == "list":
            return self._server.store.list(prefix.bucket, prefix.key, request.argument(3, str))
        return self._server.store.list_skipped(prefix.bucket, prefix.key)

    async def _put(self, request: Request) -> Any:
        return await self._server.store.put(self._writable(request), request.body, request.argument(2, str))

    async def _put_file(self, request: Request) -> Any:
        ref, name = self._writable(request), request.argument(3, str)
        if name not in WORKING_FILES:
            raise MalformedRequest("not a working file")
        return await self._server.store.put_file(ref, self._server.scratch / name, request.argument(2, str))

    def _readable(self, request: Request) -> ObjectRef:
        ref = self._ref(request)
        if not self._server.permissions.grant.may_read(ref):
            raise _refusal(ref)
        return ref

    def _writable(self, request: Request) -> ObjectRef:
        ref = self._ref(request)
        if not self._server.permissions.may_write(ref):
            raise _refusal(ref)
        return ref

    def _ref(self, request: Request) -> ObjectRef:
        return ObjectRef(request.argument(0, str), request.argument(1, str))


def _refusal(ref: ObjectRef) -> ObjectStoreError:
    log.error("a codec process asked for an object of another command", bucket=ref.bucket[:64], key=ref.key[:200])
    return ObjectStoreError("the command of this slot does not need this object")


def _refuse(ref: ObjectRef) -> "Future[Any]":
    refused: Future[Any] = Future()
    refused.set_exception(_refusal(ref))
    return refused


def _to_answer(number: int, call: "Future[Any]") -> Answer:
    error = call.exception()
    if isinstance(error, ObjectStoreError):
        return Answer(number, error=(type(error).__name__, str(error)))
    if error is not None:
        log.error("the object store failed unexpectedly", exc_info=error)
        return Answer(number, error=("ObjectStoreError", f"the object store failed ({first_line(error)})"))
    match value := call.result():
        case ReadResult():
            return Answer(number, (value.size, value.etag), body=value.data)
        case bytes():
            return Answer(number, body=value)
        case io.IOBase():
            return Answer(number, descriptor=value.fileno())
    return Answer(number, value)

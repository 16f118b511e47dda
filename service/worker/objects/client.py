"""The codec process's side: an object store and a reader of frames that ask the object process."""

import asyncio
import itertools
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from operator import attrgetter
from pathlib import Path
from typing import Any

from service.plan.render_plan import ObjectRef
from service.scratch import working_file
from service.store.objects import object_store
from service.store.objects.object_store import ObjectInfo, ObjectStoreError, ObjectVersion, ReadResult, SkippedEntry
from service.worker.fetch.readers import FILE_THREADS, ByteRange, FetchStats, read_part
from service.worker.objects.wire import MAX_REQUEST_BODY, Answer, Request, Wire

# The errors of the object store by name.
ERRORS = {
    name: kind
    for name, kind in vars(object_store).items()
    if isinstance(kind, type) and issubclass(kind, ObjectStoreError)
}
GONE = "the object process of the slot has ended"


class ObjectProcessGone(ObjectStoreError):
    """The object process has ended: this slot can do nothing any more."""


class ObjectClient:
    """Calls to the object process, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._wire = Wire(socket.socket(fileno=os.dup(connection.fileno())))
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self._calls: dict[int, tuple[Future[Any], Callable[[Answer], Any]]] = {}
        self._threads = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="files")
        self._gone = False
        threading.Thread(target=self._receive, name="objects", daemon=True).start()

    def call(
        self,
        method: str,
        *arguments: Any,
        body: bytes = b"",
        convert: Callable[[Answer], Any] = attrgetter("value"),
    ) -> "Future[Any]":
        """What `convert` makes of the answer. The future raises ObjectStoreError; it can be cancelled."""
        future: Future[Any] = Future()
        request = Request(next(self._numbers), method, arguments, body)
        with self._lock:
            self._calls[request.number] = future, convert
        try:
            self._wire.send_request(request)
        except OSError:
            self._gone = True
        if self._gone:
            self._fail_all()
        future.add_done_callback(lambda done: self._cancel(request.number) if done.cancelled() else None)
        return future

    def require_alive(self) -> None:
        """Raises ObjectProcessGone: what is under way could not be written."""
        if self._gone:
            raise ObjectProcessGone(GONE)

    def notify(self, method: str, *arguments: Any) -> None:
        """A call that has no answer."""
        try:
            self._wire.send_request(Request(next(self._numbers), method, arguments))
        except OSError as error:
            raise ObjectProcessGone(GONE) from error

    def _cancel(self, number: int) -> None:
        with self._lock:
            if self._calls.pop(number, None) is None:
                return
        try:
            self._wire.send_request(Request(0, "cancel", (number,)))
        except OSError:
            self._gone = True

    def _receive(self) -> None:
        try:
            while True:
                answer = self._wire.receive_answer()
                with self._lock:
                    future, convert = self._calls.pop(answer.number, (None, None))
                if future is None or convert is None or not future.set_running_or_notify_cancel():
                    _drop(answer)
                elif answer.descriptor is None:
                    _settle(future, answer, convert)
                else:
                    self._threads.submit(_settle, future, answer, convert)
        except (EOFError, OSError):
            self._gone = True
            self._fail_all()

    def _fail_all(self) -> None:
        with self._lock:
            calls, self._calls = [*self._calls.values()], {}
        for future, _ in calls:
            if future.set_running_or_notify_cancel():
                future.set_exception(ObjectProcessGone(GONE))


def _drop(answer: Answer) -> None:
    """Nobody waits for it any more."""
    if answer.descriptor is not None:
        os.close(answer.descriptor)


def _settle(future: "Future[Any]", answer: Answer, convert: Callable[[Answer], Any]) -> None:
    if answer.error is None:
        try:
            future.set_result(convert(answer))
        except Exception as error:
            future.set_exception(error)
        return
    name, text = answer.error
    kind = ERRORS.get(name, ObjectStoreError)
    failure = kind.__new__(kind)  # some classes are made of other values than their text
    Exception.__init__(failure, text)
    future.set_exception(failure)


class RemoteReader:
    """The reader of frames and source videos; see ObjectReader."""

    def __init__(self, client: ObjectClient) -> None:
        self._client, self.stats = client, FetchStats()

    def submit(self, version: ObjectVersion, span: ByteRange | None, limit: int) -> "Future[ReadResult]":
        started_at = time.perf_counter()

        def convert(answer: Answer) -> ReadResult:
            if answer.descriptor is None:
                part = ReadResult(answer.body, *answer.value)
            else:
                with os.fdopen(answer.descriptor, "rb") as file:
                    part = read_part(file, version.etag, span, limit)
            self.stats.add(span, len(part.data), started_at)
            return part

        ref, (start, stop) = version.ref, span or (0, -1)
        arguments = (ref.bucket, ref.key, version.etag, version.size, start, stop, limit)
        return self._client.call("read", *arguments, convert=convert)

    def close(self) -> None:
        """The connection is the client's."""


class RemoteObjectStore:
    """The object store; see ObjectAccess."""

    def __init__(self, client: ObjectClient, bucket: str) -> None:
        self._client, self.bucket = client, bucket
        self._listings, self._large = itertools.count(1), asyncio.Lock()

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        last = -1 if stop is None else stop
        call = self._client.call("get", ref.bucket, ref.key, start, last, etag, convert=attrgetter("body"))
        data: bytes = await asyncio.wrap_future(call)
        return data

    async def head(self, ref: ObjectRef) -> ObjectInfo:
        return await self._info("head", ref)

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        """What is larger than a request goes through a working file."""
        if len(data) <= MAX_REQUEST_BODY:
            return await self._info("put", ref, content_type, body=data)
        async with self._large:
            with working_file("body") as path:
                await asyncio.to_thread(path.write_bytes, data)
                return await self.put_file(ref, path, content_type)

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        """`path` is a working file."""
        return await self._info("put_file", ref, content_type, path.name)

    async def _info(self, method: str, ref: ObjectRef, *arguments: Any, body: bytes = b"") -> ObjectInfo:
        call = self._client.call(method, ref.bucket, ref.key, *arguments, body=body)
        info: ObjectInfo = await asyncio.wrap_future(call)
        return info

    async def list(self, bucket: str, prefix: str, after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        async for page in self._pages("list", bucket, prefix, after):
            yield page

    async def list_skipped(self, bucket: str, prefix: str) -> AsyncIterator[Sequence[SkippedEntry]]:
        async for page in self._pages("list_skipped", bucket, prefix):
            yield page

    async def _pages(self, method: str, bucket: str, prefix: str, *after: str) -> AsyncIterator[Any]:
        number = next(self._listings)
        while (
            page := await asyncio.wrap_future(self._client.call(method, bucket, prefix, number, *after))
        ) is not None:
            yield page

    def add_transient(self, digests: Mapping[str, str]) -> None:
        """Before the files with these digests are written under the `transient_key` of the command's segment."""
        self._client.notify("add_transient", dict(digests))

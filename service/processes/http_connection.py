"""One HTTP connection of the API: uvicorn's h11 protocol with strict syntax and limits on what a client may hold.

| what | limit |
| --- | --- |
| connections | what the handles of the process allow (ConnectionTable); one address may have an eighth |
| head of a request | MAX_HEAD_BYTES, MAX_FIELDS, and `TimeLimits.head_s` from its first byte |
| between two requests | `TimeLimits.idle_s` |
| body | 1 KiB a second over `TimeLimits.body_s`, while we are ready to read it |
| answer | 1 KiB a second over `TimeLimits.read_s`, while there is something to read |

TLS is not ours: a proxy ends it.
"""

import fcntl
import json
import logging
import secrets
import struct
import sys
import termios
from asyncio import TimerHandle, Transport
from dataclasses import dataclass
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from service.errors import ReelmillError, ServiceUnavailable
from service.processes.connection_table import ConnectionTable
from service.processes.http_syntax import RefusedRequest, StrictConnection
from service.routers.http.exception_mapping import BadRequest, RequestHeadTooLarge, RequestTimeout

log = structlog.get_logger("service.processes.api")
# Slower than any link that could carry a frame or a video.
LEAST_BYTES_PER_S = 1024


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds that a client may take."""

    # A head fits into a few packets; a lost one is sent again within 3 s.
    head_s: float = 10
    # Longer than the usual pauses of a page that polls. Proxies should keep theirs for less (docs/operation.md).
    idle_s: float = 15
    body_s: float = 20
    # A player that is paused does not read; nginx waits as long.
    read_s: float = 60

    @property
    def check_s(self) -> float:
        """How often each connection is checked, and by how much a limit may be exceeded."""
        return self.head_s / 4


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement of progress, in bytes, and when it was taken."""

    at: float
    progress: int


BUSY = ServiceUnavailable("there are too many connections: try again in a moment", headers={"Retry-After": "5"})


class ApiConnection(H11Protocol):
    """Registers in the table, closes itself when a limit is exceeded, and answers what is not valid HTTP, and never
    reaches the application, with a problem document."""

    def __init__(self, *args: Any, table: ConnectionTable, times: TimeLimits, **named: Any) -> None:
        super().__init__(*args, **named)
        self.conn: StrictConnection = StrictConnection()
        self.table, self.times = table, times
        self._timer: TimerHandle | None = None
        # When the next head has to be complete; None while a request is being answered.
        self._head_due: float | None = None
        self._head_begun = False
        self._is_over = False
        self._received: Sample | None = None
        self._read: Sample | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.table.admit(self, self.client[0] if self.client else ""):
            self._is_over = True
            transport.write(closing_answer(BUSY, self._date()))
            transport.close()
            return
        self._await_head(self.times.head_s)
        self._check_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self.table.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._head_due is not None and not self._head_begun:
            self._head_begun = True
            self._head_due = self.loop.time() + self.times.head_s
        was_draining = self._is_draining()
        super().data_received(data)
        if was_draining and not self._is_draining():
            self._await_head(self.times.idle_s)
        self._note_progress()

    def on_response_complete(self) -> None:
        self._await_head(self.times.idle_s)
        super().on_response_complete()
        self._note_progress()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note_progress()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._read = None
        if not self._is_over:
            self._note_progress()

    def send_400_response(self, msg: str) -> None:
        failure = sys.exception()
        if isinstance(failure, RefusedRequest):
            error = failure.error
        elif isinstance(failure, h11.RemoteProtocolError) and failure.error_status_hint == 431:
            error = RequestHeadTooLarge("the header fields are too large: send fewer")
        else:
            error = BadRequest("this is not a valid HTTP/1.1 request")
        self._answer_and_close(error, reason=str(failure or msg))

    def give_up(self, reason: str) -> None:
        self._close_late(BUSY, reason)

    def _await_head(self, seconds: float) -> None:
        # The rest of a body that nobody wants has as much time as the head of a request.
        self._head_begun = self._is_draining()
        self._head_due = self.loop.time() + (min(seconds, self.times.head_s) if self._head_begun else seconds)
        self._received = self._read = None

    def _note_progress(self) -> None:
        """Tell the table for whom this connection waits now: called whenever something was received or sent."""
        if self._is_over:
            return
        if self.cycle is None or self.cycle.response_complete:
            if self not in self.table.waiting:
                self.table.wait_for_head(self)
            return
        self._head_due = None
        self.table.begin_request(self, needs_client=self._owes_body() or self.flow.write_paused)

    def _owes_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused

    def _check_later(self) -> None:
        self._timer = self.loop.call_later(self.times.check_s, self._check)

    def _check(self) -> None:
        """Close the connection if its client has exceeded a limit."""
        now = self.loop.time()
        if self.transport.is_closing() or self.flow.write_paused:
            self._check_reader(now)
        elif self._head_due is None:
            self._check_body(now)
        elif now >= self._head_due:
            reason = "head too slow" if self._head_begun else "idle"
            self._close_late(RequestTimeout("the head of the request did not arrive in time"), reason)
        self._check_later()

    def _check_body(self, now: float) -> None:
        progress = self.conn.body_bytes
        if not self._owes_body() or self.cycle.waiting_for_100_continue or self._received is None:
            self._received = Sample(now, progress)
        elif now - self._received.at >= self.times.body_s:
            if progress - self._received.progress < LEAST_BYTES_PER_S * self.times.body_s:
                detail = f"less than {LEAST_BYTES_PER_S} bytes of the body arrived in a second"
                self._close_late(RequestTimeout(detail), "body too slow")
            self._received = Sample(now, progress)

    def _check_reader(self, now: float) -> None:
        """While the answer is stuck nothing is added to it, so what the client has not got can only shrink."""
        progress = -self._unread_bytes()
        if self._read is None:
            self._read = Sample(now, progress)
        elif now - self._read.at >= self.times.read_s:
            if progress - self._read.progress < LEAST_BYTES_PER_S * self.times.read_s:
                self._drop("reader too slow")
            self._read = Sample(now, progress)

    def _unread_bytes(self) -> int:
        """Bytes of the answer that the client has not received, those in the kernel's buffer included."""
        try:
            handle = self.transport.get_extra_info("socket").fileno()
            in_kernel = struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)))[0]
        except (OSError, ValueError):  # closed meanwhile
            in_kernel = 0
        return int(in_kernel) + self.transport.get_write_buffer_size()

    def _close_late(self, error: ReelmillError, reason: str) -> None:
        """Close a connection that waits for its client: with `error` if part of a request is there."""
        if self.flow.write_paused or self.transport.is_closing():
            self._drop(reason)
            return
        self.table.count_closed(reason)
        if (self._head_due is not None and not self._head_begun) or self._is_draining():
            self._end()
        else:
            self._answer_and_close(error, reason)

    def _is_draining(self) -> bool:
        """Whether what arrives belongs to the body of a request that has been answered."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _answer_and_close(self, error: ReelmillError, reason: str) -> None:
        """Answer `error` unless another answer has begun, and close."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            error_id = secrets.token_hex(6)
            level = logging.INFO if isinstance(error, BadRequest) else logging.DEBUG  # the table logs the others
            log.log(level, "problem", error_id=error_id, slug=error.slug, status=error.status, reason=reason)
            self.transport.write(closing_answer(error, self._date(), error_id))
        self._end()

    def _drop(self, reason: str) -> None:
        """Close without waiting for the client to read what is left."""
        self.table.count_closed(reason)
        self._end()
        self.transport.abort()

    def _end(self) -> None:
        """Close. The application sees that its client has left."""
        self._is_over = True
        self.table.remove(self)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.flow.resume_writing()
        self.transport.close()

    def _date(self) -> list[tuple[bytes, bytes]]:
        return self.server_state.default_headers


def closing_answer(error: ReelmillError, headers: list[tuple[bytes, bytes]], error_id: str = "none") -> bytes:
    """The bytes of a problem document after which the connection is closed. `headers` are those of every answer."""
    body = {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": "/",
        "error_id": error_id,
    }
    content = json.dumps(body).encode()
    own = {
        "content-type": "application/problem+json",
        "content-length": len(content),
        "connection": "close",
        "x-request-id": secrets.token_hex(16),
    }
    lines = [f"{name}: {value}".encode() for name, value in (own | error.headers).items()]
    lines += [b"%b: %b" % field for field in headers]
    first = b"HTTP/1.1 %d %b" % (error.status, STATUS_PHRASES[error.status])
    return b"\r\n".join([first, *lines, b"", content])

"""Requests and answers on the socket between the two processes of a slot: a head, and a body of bytes."""

import json
import pickle
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

# Lengths of head and body in bytes.
LENGTHS = struct.Struct("<IQ")
# Of what a codec process sends; keys of objects have at most 1024 bytes. Larger bodies go through a working file.
MAX_REQUEST_HEAD, MAX_REQUEST_BODY = 64 * 1024, 32 * 2**20
T = TypeVar("T")


class MalformedRequest(Exception):
    """The codec process sent what is no request: it is not to be trusted any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call of a `method` of the server with JSON values. The `body` is data to write."""

    number: int
    method: str
    arguments: tuple[Any, ...]
    body: bytes = b""

    def argument(self, place: int, kind: type[T]) -> T:
        """Raises MalformedRequest."""
        value = self.arguments[place] if place < len(self.arguments) else None
        if type(value) is not kind:
            raise MalformedRequest(f"argument {place} of a request is not of type {kind.__name__}")
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """What the call `number` returned. `error` is the class and text of an ObjectStoreError instead.

    `descriptor` is that of an open file to read from, instead of a large body; whoever gets it closes it.
    """

    number: int
    value: Any = None
    error: tuple[str, str] | None = None
    body: bytes = b""
    descriptor: int | None = None


class Wire:
    """One end of the socket. Any thread may send, one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket, self._sending = end, threading.Lock()

    def send_request(self, request: Request) -> None:
        """Raises OSError if the other process has ended."""
        head = json.dumps([request.number, request.method, *request.arguments])
        self._send(head.encode("ascii"), request.body)

    def send_answer(self, answer: Answer) -> None:
        """Raises OSError if the other process has ended."""
        head = pickle.dumps((answer.number, answer.value, answer.error), pickle.HIGHEST_PROTOCOL)
        self._send(head, answer.body, answer.descriptor)

    def receive_request(self) -> Request:
        """Raises MalformedRequest, EOFError, OSError."""
        head_length, body_length = LENGTHS.unpack(self._read(LENGTHS.size))
        if head_length > MAX_REQUEST_HEAD or body_length > MAX_REQUEST_BODY:
            raise MalformedRequest(f"a request of {head_length} and {body_length} bytes")
        head, body = self._read(head_length), self._read(body_length)
        try:
            number, method, *arguments = json.loads(head)
        except (ValueError, TypeError, RecursionError) as error:
            raise MalformedRequest(f"not a request ({type(error).__name__})") from error
        if type(number) is not int or type(method) is not str:
            raise MalformedRequest("a request without number or method")
        return Request(number, method, tuple(arguments), body)

    def receive_answer(self) -> Answer:
        """The answers are those of our own process. Raises EOFError, OSError."""
        lengths, descriptors, *_ = socket.recv_fds(self._socket, LENGTHS.size, 1, socket.MSG_WAITALL)
        if len(lengths) < LENGTHS.size:
            raise EOFError
        head_length, body_length = LENGTHS.unpack(lengths)
        number, value, error = pickle.loads(self._read(head_length))  # noqa: S301 (of the object process)
        return Answer(number, value, error, self._read(body_length), next(iter(descriptors), None))

    def close(self) -> None:
        with suppress(OSError):  # the other process has closed it
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _send(self, head: bytes, body: bytes, descriptor: int | None = None) -> None:
        message = LENGTHS.pack(len(head), len(body)) + head
        with self._sending:
            if descriptor is not None:
                sent = socket.send_fds(self._socket, [message], [descriptor])
            else:
                sent = self._socket.sendmsg([message, body])
            if sent < len(message):
                self._socket.sendall(message[sent:])
                sent = len(message)
            if sent < len(message) + len(body):
                self._socket.sendall(memoryview(body)[sent - len(message) :])

    def _read(self, length: int) -> bytes:
        """Exactly so many bytes, in one call of the kernel if it can."""
        data = self._socket.recv(length, socket.MSG_WAITALL) if length else b""
        while len(data) < length:
            part = self._socket.recv(length - len(data), socket.MSG_WAITALL)
            if not part:
                raise EOFError
            data += part
        return data

"""Strict HTTP/1.1 syntax (RFC 9112): what h11 tolerates, and a proxy may read in another way, is refused.

Two servers that disagree about where a request ends let one client's bytes count as another's request. h11 accepts
Transfer-Encoding beside Content-Length, repeated lengths, folded lines, lines that end without CR, any Host and any
form of target; here each of these is an error, after which the connection is closed. A target is a path, also after
the name of a server (`http://host/path`), or the `*` of OPTIONS.
"""

import re
from collections.abc import Sequence
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer, blank_line_regex

from service.errors import ReelmillError
from service.routers.http.exception_mapping import BadRequest, RequestHeadTooLarge, TargetTooLong

# Of the request line and all fields: room for a token of 8 KB, and what nginx takes by default for one field.
MAX_HEAD_BYTES = 16 * 1024
# RFC 9112, 3: at least 8,000 octets are recommended. Our longest parameters, cursors and grants, have 4,000.
MAX_REQUEST_LINE_BYTES = 8 * 1024
# Browsers send some 20, proxies add 10.
MAX_FIELDS = 100
_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?((?:[/?].*)?)")
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}(;[\t -~]{0,256})?\r\n")


class RefusedRequest(h11.RemoteProtocolError):
    """A request that is not read any further. `error` is what the client is told."""

    def __init__(self, error: ReelmillError) -> None:
        super().__init__(error.detail, error_status_hint=error.status)
        self.error = error


class StrictConnection(h11.Connection):
    """h11's server side of one connection with the rules of this module. Raises h11.RemoteProtocolError."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._receive_buffer: ReceiveBuffer = StrictBuffer()
        # Bytes of request bodies so far, without the framing.
        self.body_bytes = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            event = _to_origin_form(event)
            _check_request(event)
        elif isinstance(event, h11.Data):
            self.body_bytes += len(event.data)
        return event


class StrictBuffer(ReceiveBuffer):
    """Checks a request's head, and the trailers of a body in chunks, before h11 forgets how they were written."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        if self._data[:1] == b"\n":
            raise _bad_request("a line ends without CR")
        if self._data[:2] != b"\r\n":  # else the end of a body without trailers
            end = blank_line_regex.search(self._data, self._multiple_lines_search)
            if end is not None or len(self._data) > MAX_HEAD_BYTES:
                _check_head(bytes(self._data[: end.end() if end else None]))
        lines: list[bytearray] | None = super().maybe_extract_lines()
        return lines

    def maybe_extract_next_line(self) -> bytearray | None:
        line: bytearray | None = super().maybe_extract_next_line()
        if line is not None and _CHUNK_SIZE.fullmatch(line) is None:
            raise _bad_request("the size of a chunk is malformed")
        return line


def _check_head(head: bytes) -> None:
    """Raises RefusedRequest for a head, with its blank line, that is too large or ambiguous."""
    if head.find(b"\n", 0, MAX_REQUEST_LINE_BYTES) < 0:
        raise RefusedRequest(TargetTooLong(f"the request line may have {MAX_REQUEST_LINE_BYTES} bytes: send less"))
    if len(head) > MAX_HEAD_BYTES or head.count(b"\n") > MAX_FIELDS + 2:
        detail = f"a request may have {MAX_FIELDS} header fields and {MAX_HEAD_BYTES} bytes of them: send fewer"
        raise RefusedRequest(RequestHeadTooLarge(detail))
    if not head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r"):
        raise _bad_request("a line does not end with CR LF")
    if b"\n " in head or b"\n\t" in head:
        raise _bad_request("a header field is folded over several lines")
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")]
    if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
        raise _bad_request("the length of the body is given more than once")


def _to_origin_form(request: h11.Request) -> h11.Request:
    """The same request with a path as its target, if it names a server before it (RFC 9112, 3.2.2).

    That name is ignored, as the Host header is.
    """
    match = _ABSOLUTE_FORM.fullmatch(request.target)
    if match is None:
        return request
    target = match[1] if match[1].startswith(b"/") else b"/" + match[1]
    return h11.Request(method=request.method, headers=request.headers, target=target, http_version=request.http_version)


def _check_request(request: h11.Request) -> None:
    """Raises RefusedRequest for a version, target or host that is not for this server."""
    if request.http_version not in (b"1.0", b"1.1"):
        raise _bad_request("this server speaks HTTP/1.1")
    is_origin_form = request.target.startswith(b"/") or (request.method, request.target) == (b"OPTIONS", b"*")
    if not is_origin_form:
        raise _bad_request("the request target is not a path of this server")
    if request.http_version == b"1.0" and _values(request.headers, b"transfer-encoding"):
        raise _bad_request("HTTP/1.0 has no Transfer-Encoding")
    if not all(_HOST.fullmatch(host) for host in _values(request.headers, b"host")):
        raise _bad_request("the Host header is malformed")


def _values(fields: Sequence[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name == wanted]


def _bad_request(reason: str) -> RefusedRequest:
    return RefusedRequest(BadRequest(f"this is not a valid HTTP/1.1 request: {reason}"))

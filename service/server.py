"""uvicorn, made to say goodbye to event streams and to answer what is no HTTP with a problem, too."""

import asyncio
import json
import secrets
import signal
import socket
from types import FrameType

import h11
import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger("service.server")


class GracefulServer(uvicorn.Server):
    """Sets `stopping` before it waits for the requests in flight."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn would raise the signal again at the end, which kills the process before the shared state is left."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


class ProblemProtocol(H11Protocol):
    """What cannot be read as HTTP never reaches the application: it is refused here, in the same shape."""

    def send_400_response(self, msg: str) -> None:
        error_id = secrets.token_hex(6)
        log.info("problem", error_id=error_id, slug="bad-request", status=400, reason=msg)
        headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=_bad_request_body(error_id)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def uvicorn_config(app: FastAPI) -> uvicorn.Config:
    """How the API is served; the log is ours, and the server does not name itself."""
    return uvicorn.Config(
        app,
        http=ProblemProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        server_header=False,
    )


def _bad_request_body(error_id: str) -> bytes:
    body = {
        "type": "/problems/bad-request",
        "title": "The request cannot be read",
        "status": 400,
        "detail": "this is not a valid HTTP/1.1 request",
        "instance": "/",
        "error_id": error_id,
    }
    return json.dumps(body).encode()

"""The API process: uvicorn with graceful shutdown and problem documents for unreadable requests."""

import asyncio
import ctypes
import json
import os
import secrets
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import h11
import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from service import __version__
from service.config import Settings
from service.errors import StartupError
from service.identity.tokens import TokenVerifier
from service.processes.app import create_app
from service.processes.startup import SharedState, open_shared_state
from service.routers.http.dependencies import Resources

log = structlog.get_logger("service.processes.api")


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


# mallopt(3): blocks of this many bytes go back to the kernel when freed; glibc's own limit grows up to 32 MiB.
M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES = -3, 256 * 1024
TRIM_INTERVAL_S = 10.0


async def run_api(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight finish. Raises StartupRefused."""
    _set_mmap_threshold()
    listener = _bind_listener(settings)
    state = await open_shared_state(settings)
    trimming = asyncio.create_task(_trim_heap_periodically())
    try:
        at = build_resources(settings, state)
        config = uvicorn_config(create_app(at))
        await GracefulServer(config, at.stopping).serve(sockets=[listener])
    finally:
        trimming.cancel()
        with suppress(Exception):
            await asyncio.shield(state.close())


def build_resources(settings: Settings, state: SharedState) -> Resources:
    """What the routers get."""
    return Resources(
        database=state.database,
        objects=state.objects,
        verifier=TokenVerifier(settings.identity, state.local_secret),
        version=__version__,
        ollama_host=settings.process.ollama_host,
        http=settings.http,
        catalog=settings.catalog,
        limits=settings.limits,
        queries=settings.queries,
        webhooks=settings.webhooks,
        agent=settings.agent,
    )


def _set_mmap_threshold() -> None:
    """An upload's buffers must not stay: the process is small whatever has passed through it."""
    if mallopt := _glibc_function("mallopt"):
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)


async def _trim_heap_periodically() -> None:
    """Heap that start-up and large answers left behind."""
    trim = _glibc_function("malloc_trim")
    while trim:
        await asyncio.sleep(TRIM_INTERVAL_S)
        trim(0)


def _glibc_function(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def _bind_listener(settings: Settings) -> socket.socket:
    host, port = settings.process.host, settings.process.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio: no TCP_NODELAY without it
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartupError(f"PORT: {host}:{port} cannot be bound ({os.strerror(error.errno or 0)})") from error
    listener.set_inheritable(False)
    return listener

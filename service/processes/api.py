"""The API process: uvicorn with graceful shutdown, and limits on what clients may hold."""

import asyncio
import gc
import math
import os
import signal
import socket
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from service import __version__, watchdog
from service.child_process import hide_from_other_processes
from service.config import Settings
from service.errors import StartupError
from service.identity.openid import OpenIdSignIn
from service.identity.tokens import TokenVerifier
from service.malloc import M_ARENA_MAX, M_MMAP_THRESHOLD, set_malloc_options, trim_malloc
from service.processes.app import create_app
from service.processes.connection_table import ConnectionTable, limit_connections, raise_handle_limit
from service.processes.http_connection import ApiConnection, TimeLimits
from service.processes.startup import SharedState, open_shared_state
from service.routers.authentication.origins import parse_origin
from service.routers.http.dependencies import Resources
from service.routers.settings import HttpSettings

log = structlog.get_logger("service.processes.api")
# Connections that the kernel holds until they are accepted.
BACKLOG = 1024
# uvloop accepts one connection of a listener each time it goes round, so that a crowd keeps others waiting in the queue
# of the kernel while the process has time: the listener is opened so many times.
LISTENERS = 8
TIMES = TimeLimits()
# Of one connection, in the kernel, which doubles it: else a client that does not read holds 4 MB there. Enough for
# 40 Mbit/s over a way of 100 ms.
SEND_BUFFER_BYTES = 256 * 1024


class GracefulServer(uvicorn.Server):
    """Sets `stopping`, which ends event streams, before it waits for the requests in flight."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's, but without raising the signal again: that would end the process before it closes its state."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)


def uvicorn_config(app: FastAPI, http: HttpSettings, times: TimeLimits = TIMES) -> uvicorn.Config:
    """How uvicorn serves the API: with limits on connections, our log instead of its own, and no Server header."""
    config = uvicorn.Config(
        app,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=math.ceil(times.idle_s),
        server_header=False,
        backlog=BACKLOG,
    )
    table = ConnectionTable(http, config.forwarded_allow_ips)
    config.http = partial(ApiConnection, table=table, times=times)  # type: ignore[assignment]
    return config


# Freed blocks of this size go back to the kernel at once; glibc raises its own threshold up to 32 MiB.
MMAP_THRESHOLD_BYTES = 256 * 1024
TRIM_INTERVAL_S = 10.0


async def run_api(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight finish. Raises StartupError."""
    hide_from_other_processes()
    beating = asyncio.create_task(watchdog.beat())
    set_malloc_options(
        {M_MMAP_THRESHOLD: MMAP_THRESHOLD_BYTES, M_ARENA_MAX: 2}
    )  # upload buffers must not stay resident
    handles = raise_handle_limit()
    settings = replace(settings, http=limit_connections(settings.http, handles))
    log.info("limits", file_handles=handles, connections=settings.http.max_connections)
    listener = _bind_listener(settings)
    state = await open_shared_state(settings)
    trimming = asyncio.create_task(_trim_heap_periodically())
    try:
        resources = build_resources(settings, state)
        server = GracefulServer(uvicorn_config(create_app(resources), resources.http), resources.stopping)
        _make_collections_rare()
        await server.serve(sockets=[listener, *(listener.dup() for _ in range(LISTENERS - 1))])
    finally:
        trimming.cancel()
        beating.cancel()
        with suppress(Exception):
            await asyncio.shield(state.close())
    state.require_database()


def build_resources(settings: Settings, state: SharedState) -> Resources:
    """Everything the routers need from the settings and the shared state."""
    return Resources(
        database=state.database,
        objects=state.objects,
        verifier=TokenVerifier(settings.identity, state.local_secret),
        version=__version__,
        ollama_host=settings.process.ollama_host,
        public_url=_public_url(settings),
        open_id=OpenIdSignIn(settings.oidc, settings.identity, state.local_secret) if settings.oidc.issuer else None,
        http=settings.http,
        catalog=settings.catalog,
        sources=settings.objects.source_rules,
        limits=settings.limits,
        storage=settings.storage,
        queries=settings.queries,
        webhooks=settings.webhooks,
        agent=settings.agent,
    )


def _public_url(settings: Settings) -> str:
    """REELMILL_URL, which pages that change something must come from. Raises StartupError."""
    url = (settings.client.url or "").rstrip("/")
    if url and parse_origin(url) is None:
        raise StartupError("REELMILL_URL must be an address such as https://video.example")
    return url


def _make_collections_rare() -> None:
    """A full collection holds up all requests. With thousands of connections that come and go, Python's defaults make
    one every second or two; and without `freeze` each goes over all modules, too. What start-up has left is collected
    before: it would be kept for ever."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 10, 100)


async def _trim_heap_periodically() -> None:
    """Return the heap that start-up and large responses leave behind."""
    while True:
        await asyncio.sleep(TRIM_INTERVAL_S)
        trim_malloc()


def _bind_listener(settings: Settings) -> socket.socket:
    host, port = settings.process.host, settings.process.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio: no TCP_NODELAY without it
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartupError(f"PORT: {host}:{port} cannot be bound ({os.strerror(error.errno or 0)})") from error
    listener.set_inheritable(False)
    return listener

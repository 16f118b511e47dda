"""The API process: uvicorn over the app, with the shared state proven first."""

import asyncio
import ctypes
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from service import __version__
from service.app import create_app
from service.config import Settings
from service.errors import StartupError
from service.identity.tokens import TokenVerifier
from service.routers.resources import Resources
from service.server import GracefulServer, uvicorn_config
from service.startup import SharedState, open_shared_state

M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES = -3, 256 * 1024
"""mallopt(3): blocks of this many bytes go back to the kernel when freed; glibc's own limit grows up to 32 MiB."""
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

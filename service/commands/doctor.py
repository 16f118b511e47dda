"""`reelmill doctor`: check what works on this machine with these settings, and say how to fix what does not."""

import asyncio
import os
import platform
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable

from rich.console import Console

from service import __version__, config
from service.agent.ollama_client import probe_ollama
from service.config import Settings
from service.devices.nvml import NvmlProbe
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.identity.tokens import TokenVerifier
from service.processes.connection_table import limit_connections, raise_handle_limit
from service.processes.startup import connect_object_store, open_database

console = Console(soft_wrap=True, highlight=False)
Check = Callable[[Settings], Awaitable[str]]

REQUIRED_ENCODERS = ("libx264", "libx265", "libsvtav1", "ffv1")


async def run_checks() -> int:
    """Print one line per check. The exit code is 78 if a configured feature cannot work here, else 0."""
    console.print(f"reelmill {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores", markup=False)
    try:
        settings = config.load()
    except StartupError as error:
        _print_result("settings", str(error), passed=False)
        return StartupError.exit_code
    checks: list[tuple[str, Check]] = [
        ("database", _check_database),
        ("object store", _check_object_store),
        ("tokens", _check_tokens),
        ("file handles", _check_file_handles),
        ("ollama", _check_ollama),
        ("encoders", _check_encoders),
        ("cuda", _check_cuda),
    ]
    all_passed = True
    for name, check in checks:
        try:
            _print_result(name, await check(settings), passed=True)
        except StartupError as error:
            _print_result(name, str(error), passed=False)
            all_passed = False
    return 0 if all_passed else StartupError.exit_code


def _print_result(name: str, message: str, *, passed: bool) -> None:
    console.print(f"{'ok  ' if passed else 'FAIL'} {name:13} {message}", style=None if passed else "red", markup=False)


async def _check_database(settings: Settings) -> str:
    embedded, _ = await open_database(settings)
    if embedded is None:
        return "DATABASE_URL is reachable and has the current schema"
    await asyncio.to_thread(embedded.stop)
    return f"embedded PostgreSQL starts in {settings.process.home}"


async def _check_object_store(settings: Settings) -> str:
    objects = await connect_object_store(settings)
    await objects.close()
    where = re.sub(r"(?<=://)[^/@]*@", "", settings.objects.endpoint or "")  # without a user and a password
    return where or f"files in {settings.process.home}"


async def _check_tokens(settings: Settings) -> str:
    secret = None if settings.database.url else local_secret(settings.process.home)
    TokenVerifier(settings.identity, secret)
    if settings.identity.jwks_url:
        return "verified with the keys of JWT_JWKS_URL"
    return f"signed with {'JWT_SECRET' if settings.identity.secret else f'the secret in {settings.process.home}'}"


async def _check_file_handles(settings: Settings) -> str:
    handles = raise_handle_limit()
    http = limit_connections(settings.http, handles)
    return f"{handles} (ulimit -Hn): {http.max_connections} connections, {http.max_event_streams} event streams"


async def _check_ollama(settings: Settings) -> str:
    """The service starts without Ollama, but a configured server that does not respond is a failure."""
    host = settings.process.ollama_host
    if host is None:
        return "OLLAMA_HOST is not set: the agent answers only common questions"
    try:
        found = await probe_ollama(host, settings.agent)
    except Exception as error:
        raise StartupError(f"OLLAMA_HOST: no Ollama server responds there ({type(error).__name__})") from error
    if found.missing_models:
        raise StartupError(found.pull_hint())
    known = settings.agent
    models = dict.fromkeys((known.default_model, known.code_model, known.fast_model))
    return f"version {found.version} with {', '.join(models)}"


async def _check_encoders(_settings: Settings) -> str:
    """In a process of its own, like everything that loads codecs."""
    script = f"import av; print(av.ffmpeg_version_info, *(c for c in {REQUIRED_ENCODERS} if c in av.codecs_available))"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True)
    words = done.stdout.split()
    if done.returncode or len(words) <= len(REQUIRED_ENCODERS):
        raise StartupError(f"one of {', '.join(REQUIRED_ENCODERS)} cannot be loaded: reinstall the package")
    return f"FFmpeg {words[0]} with {', '.join(words[1:])}"


async def _check_cuda(_settings: Settings) -> str:
    """The devices that the driver lists; `reelmill devices` tests what works on them."""
    found = await asyncio.to_thread(NvmlProbe().read_devices)
    present = [f"{device.name} is {device.model}" for device in found if device.absent_reason is None]
    return f"{', '.join(present) or found[0].absent_reason}; `reelmill devices` tests what works"

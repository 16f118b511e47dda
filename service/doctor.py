"""`reelmill doctor`: what this machine and this environment can do, and what to mend."""

import asyncio
import os
import platform
import subprocess
import sys
from collections.abc import Awaitable, Callable

from rich.console import Console

from service import __version__, config
from service.agent.presence import look
from service.config import Settings
from service.devices.nvml import Nvml
from service.errors import StartupRefused
from service.identity.local_secret import local_secret
from service.identity.tokens import TokenVerifier
from service.startup import open_database, open_objects

console = Console(soft_wrap=True, highlight=False)
Check = Callable[[Settings], Awaitable[str]]

NEEDED = ("libx264", "libx265", "libsvtav1", "ffv1")


async def examine() -> int:
    """Print one line a check; the exit code is 78 when something that was asked for cannot work here, else 0."""
    console.print(f"reelmill {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores", markup=False)
    try:
        settings = config.load()
    except StartupRefused as refusal:
        return _told("settings", str(refusal), good=False)
    checks: list[tuple[str, Check]] = [
        ("database", _database),
        ("object store", _objects),
        ("tokens", _tokens),
        ("ollama", _ollama),
        ("encoders", _encoders),
        ("cuda", _cuda),
    ]
    return max([await _run(name, check, settings) for name, check in checks])


async def _run(name: str, check: Check, settings: Settings) -> int:
    try:
        return _told(name, await check(settings), good=True)
    except StartupRefused as refusal:
        return _told(name, str(refusal), good=False)


def _told(name: str, text: str, *, good: bool) -> int:
    console.print(f"{'ok  ' if good else 'FAIL'} {name:13} {text}", style=None if good else "red", markup=False)
    return 0 if good else StartupRefused.exit_code


async def _database(settings: Settings) -> str:
    embedded, _ = await open_database(settings)
    if embedded is None:
        return "DATABASE_URL answers and has the newest schema"
    await asyncio.to_thread(embedded.stop)
    return f"embedded PostgreSQL starts in {settings.process.home}"


async def _objects(settings: Settings) -> str:
    objects = await open_objects(settings)
    await objects.close()
    return settings.objects.endpoint or f"files in {settings.process.home}"


async def _tokens(settings: Settings) -> str:
    secret = None if settings.database.url else local_secret(settings.process.home)
    TokenVerifier(settings.identity, secret)
    if settings.identity.jwks_url:
        return "of the issuer in JWT_JWKS_URL"
    return "of JWT_SECRET" if settings.identity.secret else f"of the secret in {settings.process.home}"


async def _ollama(settings: Settings) -> str:
    """The service starts without it; what was asked for and is not there is a failure all the same."""
    host = settings.process.ollama_host
    if host is None:
        return "OLLAMA_HOST is not set: the agent answers common questions only"
    try:
        found = await look(host, settings.agent)
    except Exception as error:
        raise StartupRefused(f"OLLAMA_HOST: no Ollama answers there ({type(error).__name__})") from error
    if found.missing:
        raise StartupRefused(found.hint())
    known = settings.agent
    models = dict.fromkeys((known.default_model, known.code_model, known.fast_model))
    return f"version {found.version} with {', '.join(models)}"


async def _encoders(_settings: Settings) -> str:
    """In a process of its own, as everything that loads a codec."""
    script = f"import av; print(av.ffmpeg_version_info, *(c for c in {NEEDED} if c in av.codecs_available))"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True)
    words = done.stdout.split()
    if done.returncode or len(words) <= len(NEEDED):
        raise StartupRefused(f"one of {', '.join(NEEDED)} cannot be loaded: install the package again")
    return f"FFmpeg {words[0]} with {', '.join(words[1:])}"


async def _cuda(_settings: Settings) -> str:
    """What the driver names; what of it works, only canaries tell."""
    found = await asyncio.to_thread(Nvml().look)
    there = [f"{device.name} is {device.model}" for device in found if device.absent is None]
    return f"{', '.join(there) or found[0].absent}; `reelmill devices` proves what works"

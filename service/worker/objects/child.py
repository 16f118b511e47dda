"""The object process of a slot: shuts itself in, then serves one codec process after another."""

import mimetypes
import os
import signal
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from urllib.parse import urlsplit

from service.child_process import (
    die_with_parent,
    drop_privileges,
    hide_from_other_processes,
    lower_priority,
    name_process,
)
from service.store.settings import ObjectSettings
from service.telemetry import logging
from service.worker.memory import set_memory_limit, tune_malloc
from service.worker.objects.grants import Grant
from service.worker.objects.server import ObjectServer
from service.worker.sandbox import Walls, confine

PROCESS_NAME = "reelmill-object"


@dataclass(frozen=True, slots=True)
class ObjectsConfig:
    """The object store, and the limits of the process; `scratch` has the working files of the codec process."""

    objects: ObjectSettings
    home: Path
    memory_mb: int
    scratch: Path
    niceness: int
    log_level: logging.Level = "INFO"
    confined: bool = True


@dataclass(frozen=True, slots=True)
class Attach:
    """Serve another codec process: the handle of its socket follows."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The supervisor asks whether this process works."""


@dataclass(frozen=True, slots=True)
class Done:
    """What the supervisor said has been done."""


def main(config: ObjectsConfig, control: Connection, parent_pid: int) -> None:
    """Entry point of the process: serve one codec process after another until the supervisor closes `control`."""
    die_with_parent(parent_pid)
    hide_from_other_processes()
    name_process(PROCESS_NAME)
    lower_priority(config.niceness)
    drop_privileges()
    logging.configure(config.log_level)
    tune_malloc()
    set_memory_limit(config.memory_mb, config.memory_mb)
    mimetypes.init()  # reads files of /etc when it is first used
    tempfile.tempdir = str(config.scratch)
    if config.confined:
        confine(_walls(config))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = ObjectServer(config.objects, config.home, config.scratch)
    with suppress(EOFError, OSError):  # the supervisor has ended
        while True:
            _obey(control.recv(), server, control)
    os._exit(0)


def _obey(message: Grant | Attach | Ping, server: ObjectServer, control: Connection) -> None:
    if isinstance(message, Attach):
        server.attach(socket.socket(fileno=recv_handle(control)))
        return
    if isinstance(message, Grant):
        server.permissions.grant = message
    control.send(Done())


def _walls(config: ObjectsConfig) -> Walls:
    """Files below the home, or the port of the object store."""
    if config.objects.endpoint is not None:
        bundle = os.environ.get("AWS_CA_BUNDLE")
        bundles = tuple(map(Path, [bundle] if bundle else []))
        return Walls(bundles, (config.scratch,), (port_of(config.objects.endpoint_url),))
    root = config.home / "objects"
    buckets = [entry for entry in root.iterdir() if entry.is_symlink()] if root.is_dir() else []
    linked = tuple(entry for entry in buckets if entry.name != config.objects.bucket)
    return Walls(linked, (root, root / config.objects.bucket, config.scratch))


def port_of(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)

"""Runs `reelmill` commands in processes of their own, forked from one that has the modules loaded already.

What a shell sees is the same: output, exit code, environment. Only the half second of imports is saved.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

TIMEOUT_S = 300
FORKSERVER = get_context("forkserver")
MODULES = ("tokens", "backup", "devices", "remote.ingest", "remote.render", "up", "verify")
FORKSERVER.set_forkserver_preload(
    ["service.cli.main", "service.client.transport", *(f"service.commands.{name}" for name in MODULES)]
)


def run_command(*words: str | bytes) -> "subprocess.CompletedProcess[str]":
    """Run `reelmill` with these words, in this environment; standard input is empty."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.NamedTemporaryFile("w+", errors="replace")) for _ in range(2)]
        paths = [file.name for file in files]
        process = FORKSERVER.Process(target=_run, args=(words, dict(os.environ), str(Path.cwd()), paths))
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([os.fsdecode(word) for word in words], TIMEOUT_S)
        output, errors = (file.read() for file in files)
        return subprocess.CompletedProcess(list(words), process.exitcode, output, errors)


def _run(words: tuple[str | bytes, ...], environment: dict[str, str], folder: str, paths: list[str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, path in zip((1, 2), paths, strict=True):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    from service.cli import main

    sys.argv = [main.__file__.replace("cli/main.py", "__main__.py"), *map(os.fsdecode, words)]
    main.main()

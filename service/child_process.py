"""Child processes of ours: where they find our modules, and that none outlives its parent."""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends when the thread that started the process dies."""


def own_modules() -> dict[str, str]:
    """The environment of a child that runs one of our modules, wherever it was started."""
    root = Path(__file__).parents[1]
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def end_with_parent(parent: int) -> None:
    """In the child: die when the parent does, even when that is killed with SIGKILL, and when it has died already."""
    if sys.platform == "linux":
        _ordered(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def apart(end: signal.Signals) -> None:
    """In the child, before its program: a Ctrl-C of the terminal is not for it (its parent tells it), and a parent that
    dies sends this signal."""
    os.setpgrp()
    if sys.platform == "linux":
        _ordered(end)


def _ordered(end: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, end)

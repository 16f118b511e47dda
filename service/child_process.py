"""Set up our child processes: environment, death signal, priority."""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
# The kernel accepts one change of an autogroup's niceness per 100 ms, machine-wide (kernel/sched/autogroup.c).
RETRY_DELAY_S, MAX_RETRIES = 0.1, 50

# prctl(2): the signal to send to this process when the thread that started it dies.
PR_SET_PDEATHSIG = 1


def child_environment() -> dict[str, str]:
    """The environment of a child that runs one of our modules, whatever its working directory."""
    root = Path(__file__).parents[1]
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def die_with_parent(parent_pid: int) -> None:
    """In the child: die with the parent, even if SIGKILL kills it or it is dead already."""
    if sys.platform == "linux":
        _set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)


def detach_from_terminal(death_signal: signal.Signals) -> None:
    """In the child, before exec: ignore Ctrl-C from the terminal (the parent stops it) and receive this signal if the
    parent dies."""
    os.setpgrp()
    if sys.platform == "linux":
        _set_parent_death_signal(death_signal)


def lower_priority(niceness: int) -> None:
    """In the child: lower the priority of this process and of its session.

    With Linux's autogroup, niceness counts only within a session: a busy slot's session would get as much of a core as
    that of a PostgreSQL backend. So the child leads a session of its own, with the same niceness (sched(7)).
    """
    os.nice(niceness)
    with suppress(OSError):  # a process group leader cannot; some kernels have no autogroup
        os.setsid()
        for _ in range(MAX_RETRIES):
            with suppress(BlockingIOError):
                AUTOGROUP.write_text(str(niceness))
                return
            time.sleep(RETRY_DELAY_S)


def _set_parent_death_signal(death_signal: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)

"""Settings of our child processes: module path, death signal, priority."""

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
# The kernel lets one process in 100 ms of the whole machine change its group's niceness (kernel/sched/autogroup.c).
RETRY_DELAY_S, MAX_RETRIES = 0.1, 50

# prctl(2): the signal that the kernel sends when the thread that started the process dies.
PR_SET_PDEATHSIG = 1


def child_environment() -> dict[str, str]:
    """The environment of a child that runs one of our modules, wherever it was started."""
    root = Path(__file__).parents[1]
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def die_with_parent(parent_pid: int) -> None:
    """In the child: die when the parent does, even when that is killed with SIGKILL, and when it has died already."""
    if sys.platform == "linux":
        _set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)


def detach_from_terminal(death_signal: signal.Signals) -> None:
    """In the child, before its program: a Ctrl-C of the terminal is not for it (its parent tells it), and a parent that
    dies sends this signal."""
    os.setpgrp()
    if sys.platform == "linux":
        _set_parent_death_signal(death_signal)


def lower_priority(niceness: int) -> None:
    """In the child: leave the cores to whoever is asked something.

    Linux's autogroup counts niceness within a session only, and gives the session of one busy slot as much of a core as
    that of a backend of PostgreSQL. So the child leads a session of its own, whose niceness says the same (sched(7)).
    """
    os.nice(niceness)
    with suppress(OSError):  # not for the leader of a process group; and there are kernels without autogroup
        os.setsid()
        _set_autogroup_niceness(niceness)


def _set_autogroup_niceness(niceness: int) -> None:
    for _ in range(MAX_RETRIES):
        with suppress(BlockingIOError):
            AUTOGROUP.write_text(str(niceness))
            return
        time.sleep(RETRY_DELAY_S)


def _set_parent_death_signal(death_signal: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)

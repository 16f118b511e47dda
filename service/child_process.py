"""Set up our processes: environment, death signal, priority, and what a process may do and show to others."""

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

# prctl(2): the signal to send to this process when the thread that started it dies; whether others of the same user may
# read its memory and /proc/PID/environ; the set of capabilities that it can ever have; no more rights through exec.
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
# capset(2): _LINUX_CAPABILITY_VERSION_3, and the highest number that a version of the kernel may have given out.
CAPABILITY_VERSION, MAX_CAPABILITY = 0x20080522, 63


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


def hide_from_other_processes() -> None:
    """Processes of the same user can read neither the memory of this one nor its `/proc/PID/environ`, unless they have
    the capabilities of root. It leaves no core dump either."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def drop_privileges() -> None:
    """Give up all capabilities for good, also those that a program with the setuid bit would give.

    Call it before the process has threads. Raises OSError.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(MAX_CAPABILITY + 1):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # only root may, and only what this kernel knows
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) or libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the process cannot give up its privileges")


def name_process(name: str) -> None:
    """What `ps` and `top` call this process; at most 15 characters."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


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

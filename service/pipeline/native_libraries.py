"""Workarounds for native libraries: SVT-AV1's real-time threads and swscale's slow AVX2 gathers on AMD CPUs."""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path


def reset_scheduler() -> None:
    """Put every thread of this process back under the ordinary scheduler.

    SVT-AV1, run by root, gives its threads and its caller's real-time priority 99 (SCHED_FIFO): they, and every process
    started later, would keep the cores from all others, the API first of all. With two cores taken, the kernel itself
    was seen to hang.
    """
    if not sys.platform.startswith("linux"):
        return
    for thread in (int(task.name) for task in Path("/proc/self/task").iterdir()):
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


# AV_CPU_FLAG_SLOW_GATHER of libavutil/cpu.h, on x86.
SLOW_GATHER = 0x2000000


def disable_avx_gather() -> None:
    """Before pictures are scaled. The same samples come out.

    swscale's AVX2 code collects the samples of a row with gather instructions, which are slow on AMD's CPUs: halving
    1080p takes 1.1 ms with and 0.7 without (EPYC). FFmpeg has a flag for that, but sets it for old CPUs only, and PyAV
    has no call for it. Others were not measured, and are left to FFmpeg.
    """
    with suppress(OSError, AttributeError):  # without it all is as before
        if "AuthenticAMD" not in Path("/proc/cpuinfo").read_text():
            return
        library = ctypes.CDLL(_loaded_library("/libavutil"))
        library.av_force_cpu_flags(library.av_get_cpu_flags() | SLOW_GATHER)


def _loaded_library(name: str) -> str:
    """The file of the library that this process has loaded already. Raises OSError."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line[line.find("/") :]
        if name in path:
            return path
    raise OSError(f"{name} is not loaded")

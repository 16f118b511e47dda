"""Workarounds for native libraries: SVT-AV1's real-time threads, swscale's slow AVX2 gathers on AMD CPUs, results that
depend on the CPU, and errors that FFmpeg only logs.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import av.logging


def reset_scheduler() -> None:
    """Reset every thread of this process to SCHED_OTHER.

    Run as root, SVT-AV1 sets its own threads and the caller to real-time priority 99 (SCHED_FIFO), which children
    inherit. That starves the rest of the machine; with two cores taken, the kernel itself stalled.
    """
    if not sys.platform.startswith("linux"):
        return
    for thread in (int(task.name) for task in Path("/proc/self/task").iterdir()):
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


# AV_CPU_FLAG_SLOW_GATHER of libavutil/cpu.h, on x86.
SLOW_GATHER = 0x2000000
# AV_CPU_FLAG_FMA3 and AV_CPU_FLAG_FMA4.
FUSED_MULTIPLY_ADD = 0x10800


def disable_avx_gather() -> None:
    """Tell swscale not to use AVX2 gather instructions on AMD CPUs; call it before frames are scaled.

    They are slow there: halving 1080p takes 1.1 ms with them and 0.7 ms without (EPYC). The output is identical. FFmpeg
    sets this flag only for old CPUs, and PyAV has no function for it. CPUs of other makers were not measured.
    """
    with suppress(OSError, AttributeError):  # scaling works without it
        if "AuthenticAMD" not in Path("/proc/cpuinfo").read_text():
            return
        library = ctypes.CDLL(_loaded_library("/libavutil"))
        library.av_force_cpu_flags(library.av_get_cpu_flags() | SLOW_GATHER)


@contextmanager
def without_fused_multiply_add() -> Iterator[None]:
    """Hide these instructions from a filter that is being set up, so that it gives the same samples on every CPU.

    They round once where others round twice: FFmpeg's lut3d then differs in the last of 16 bits.
    """
    try:
        library = ctypes.CDLL(_loaded_library("/libavutil"))
        flags = library.av_get_cpu_flags()
    except (OSError, AttributeError):
        yield
        return
    library.av_force_cpu_flags(flags & ~FUSED_MULTIPLY_ADD)
    try:
        yield
    finally:
        library.av_force_cpu_flags(flags)


def _loaded_library(name: str) -> str:
    """The path of a library that this process has loaded. Raises OSError."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line[line.find("/") :]
        if name in path:
            return path
    raise OSError(f"{name} is not loaded")


@contextmanager
def reported_errors() -> Iterator[list[str]]:
    """The errors that FFmpeg logs on this thread."""
    errors: list[str] = []
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as records:
            yield errors
    finally:
        errors += [message for _, _, message in records]
        av.logging.set_skip_repeated(skips)
        av.logging.set_level(level)

"""Which of its instructions FFmpeg may use: not the slow ones."""

import ctypes
from contextlib import suppress
from pathlib import Path

SLOW_GATHER = 0x2000000
"""AV_CPU_FLAG_SLOW_GATHER of libavutil/cpu.h, on x86."""


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

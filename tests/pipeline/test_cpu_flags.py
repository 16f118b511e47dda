"""FFmpeg scales without gather instructions, to the same samples."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.child_process import child_environment

CPUS = Path("/proc/cpuinfo").read_text() if sys.platform.startswith("linux") else ""

pytestmark = pytest.mark.skipif("AuthenticAMD" not in CPUS, reason="an AMD CPU is needed")

CHILD = """
import ctypes
import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from service.pipeline import native_libraries, planes

frame = VideoFrame(1922, 1082, "yuv420p")
for plane in planes.plane_views(frame):
    plane[:] = np.random.default_rng(5).integers(0, 256, plane.shape, np.uint8)


def scaled():
    kinds, sizes = (Interpolation.AREA, Interpolation.BICUBIC), ((960, 540), (640, 362), (2400, 1300))
    made = [
        VideoReformatter().reformat(frame, *size, "yuv420p", interpolation=kind, threads=1)
        for kind in kinds for size in sizes
    ]
    return [plane.copy() for one in made for plane in planes.plane_views(one)]


library = ctypes.CDLL(native_libraries._loaded_library("/libavutil"))
before, first = scaled(), library.av_get_cpu_flags()
native_libraries.disable_avx_gather()
assert library.av_get_cpu_flags() == first | native_libraries.SLOW_GATHER
assert all(np.array_equal(old, new) for old, new in zip(before, scaled(), strict=True))
print("the same")
"""


def test_the_same_samples() -> None:
    said = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, env=child_environment(), check=False
    )
    assert said.stdout == "the same\n", said.stderr

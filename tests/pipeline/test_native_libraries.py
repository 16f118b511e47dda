"""Workarounds for native libraries: scheduling of the encoders' threads, and scaling without gather instructions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.child_process import child_environment
from tests.pipeline.rendering import numbered_jpegs, render

IS_LINUX = sys.platform.startswith("linux")
CPUS = Path("/proc/cpuinfo").read_text() if IS_LINUX else ""

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
    frames = [
        VideoReformatter().reformat(frame, *size, "yuv420p", interpolation=kind, threads=1)
        for kind in kinds for size in sizes
    ]
    return [plane.copy() for one in frames for plane in planes.plane_views(one)]


library = ctypes.CDLL(native_libraries._loaded_library("/libavutil"))
before, first = scaled(), library.av_get_cpu_flags()
native_libraries.disable_avx_gather()
assert library.av_get_cpu_flags() == first | native_libraries.SLOW_GATHER
assert all(np.array_equal(old, new) for old, new in zip(before, scaled(), strict=True))
print("the same")
"""


@pytest.mark.skipif("AuthenticAMD" not in CPUS, reason="an AMD CPU is needed")
def test_the_same_samples() -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, env=child_environment(), check=False
    )
    assert child.stdout == "the same\n", child.stderr


@pytest.mark.skipif(not IS_LINUX, reason="schedulers of threads are read from /proc")
def test_no_thread_is_left_in_real_time() -> None:
    """Run as root, SVT-AV1 sets real-time priorities."""
    policies = []
    objects = numbered_jpegs(3)
    render(objects, codec="av1", progress=lambda _: policies.append(_scheduler_policies()))
    assert policies and all(each == {os.SCHED_OTHER} for each in policies)


def _scheduler_policies() -> set[int]:
    return {os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()}

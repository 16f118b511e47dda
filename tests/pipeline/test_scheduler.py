"""Encoders do not decide how the process is scheduled."""

import os
import sys
from pathlib import Path

import pytest

from tests.pipeline.rendering import numbered_jpegs, render

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells threads' schedulers")


def test_no_thread_is_left_in_real_time() -> None:
    """SVT-AV1 would make it so, run by root."""
    seen = []
    objects = numbered_jpegs(3)
    render(objects, codec="av1", progress=lambda _: seen.append(_scheduler_policies()))
    assert seen and all(policies == {os.SCHED_OTHER} for policies in seen)


def _scheduler_policies() -> set[int]:
    return {os.sched_getscheduler(int(task.name)) for task in Path("/proc/self/task").iterdir()}

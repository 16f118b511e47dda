"""Memory follows the picture size, not the number of frames."""

from pathlib import Path

import pytest

from tests.pipeline.rendering import render
from tests.support import media

FRAME = media.jpeg(media.numbered(5, 640, 480))


def resident_megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_ten_times_the_frames_take_no_more_memory(codec: str) -> None:
    render([FRAME] * 40, codec=codec, width=640, height=480)
    before = resident_megabytes()
    render([FRAME] * 400, codec=codec, width=640, height=480)
    assert resident_megabytes() - before < 25  # 400 decoded frames would be 184

"""Every kind of image, whole and damaged, under a wrong name: each has its line in the receipt, and none goes unsaid."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.plan.tone import Tone
from tests.pipeline.corpus.makers import HEIGHT, SAMPLE_IMAGES, WIDTH
from tests.pipeline.rendering import decode_pictures, render


def damaged_variants(data: bytes) -> Iterator[bytes]:
    """Cut at 20 places, bits flipped, zeros, nothing."""
    yield from (data[: len(data) * place // 20] for place in range(20))
    random = np.random.default_rng(len(data))
    for count in (1, 8, 64, 256):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[random.integers(0, len(data), count)] ^= np.uint8(1 << int(random.integers(0, 8)))
        yield damaged.tobytes()
    yield bytes(len(data))


@pytest.mark.parametrize("name", SAMPLE_IMAGES)
def test_each_has_its_line(name: str) -> None:
    """The objects are all called .jpg, whatever they are: names decide nothing."""
    data = SAMPLE_IMAGES[name].data
    frames: list[bytes | None] = [data, *damaged_variants(data), data]
    of: dict[str, Any] = {"width": WIDTH, "height": HEIGHT, "tone": Tone(0, 65535), "codec": "mjpeg"}
    result = render(frames, **of, form="yuvj420p", container="avi", corrupt="hold", mismatch="pad")
    assert [report.source for report in result.reports] == list(range(len(frames)))
    assert result.frames == len(frames) == len(decode_pictures(result.data))
    first, *damaged, last = result.reports
    assert first.outcome == last.outcome == "ok"
    assert all(report.outcome in ("ok", "held", "resized") for report in damaged)
    assert all(report.reason and report.sha256 for report in damaged if report.outcome != "ok")
    assert sum(report.outcome == "held" for report in damaged) >= 11
    assert [report.reason for report in damaged if report.sha256 == damaged[0].sha256] == ["the file is empty"]

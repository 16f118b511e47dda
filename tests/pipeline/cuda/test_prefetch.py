"""The limit on frames that are fetched ahead of the encoder."""

from fractions import Fraction

import pytest

from service.pipeline.cuda import batching
from service.pipeline.cuda.eligibility import CandidateSelector
from service.pipeline.cuda.prefetch import DevicePrefetcher, fetch_frames
from service.plan.render_plan import FrameRef, RenderOptions
from tests.pipeline.rendering import MemoryObjects
from tests.support.cuda_doubles.driver import DriverDouble
from tests.support.data import media

OPTIONS = RenderOptions("h264", 70, Fraction(30), 128, 96)


def test_what_is_not_the_devices_waits_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such frames need no device memory, so the size of a batch does not limit them."""
    png = media.png(media.numbered_picture(1))
    monkeypatch.setattr(batching, "PINNED_BYTES", 3 * len(png))
    reader = MemoryObjects({f"{index}.png": png for index in range(40)})
    refs = [FrameRef(index, f"{index}.png") for index in range(40)]
    gatherer = batching.Batcher(CandidateSelector(OPTIONS, False), fetch_frames(refs, reader), 1 << 30)
    frames = DevicePrefetcher(DriverDouble(), gatherer, download=True)
    order = iter(frames)
    assert next(order).data == png
    frames.close()
    assert len(reader.read_keys) <= 8, "two batches of three, read in pairs"

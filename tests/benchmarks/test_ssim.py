"""Our SSIM agrees with FFmpeg's."""

import av
import numpy as np
import pytest
from av import VideoFrame
from av.filter import Graph
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ssim import plane_ssim, ssim
from service.pipeline.planes import plane_view


def make_picture(seed: int, noise: float) -> VideoFrame:
    """yuv420p, 160x96: one smooth scene for all seeds, and noise."""
    frame = VideoFrame(160, 96, "yuv420p")
    random = np.random.default_rng(seed)
    for plane in frame.planes:
        rows, columns = np.mgrid[0 : plane.height, 0 : plane.width]
        levels = 120 + 60 * np.sin(columns / 9) * np.cos(rows / 7) + random.normal(0, noise, rows.shape)
        plane_view(plane)[:] = np.clip(levels, 0, 255).astype(np.uint8)
    frame.pts = 0
    return frame


def ffmpeg_ssim(one: VideoFrame, other: VideoFrame) -> float:
    graph = Graph()
    sources = [graph.add_buffer(width=160, height=96, format="yuv420p", time_base=av.time_base) for _ in range(2)]
    judge, sink = graph.add("ssim"), graph.add("buffersink")
    for number, source in enumerate(sources):
        source.link_to(judge, 0, number)
    judge.link_to(sink)
    graph.configure()
    for source, frame in zip(sources, (one, other), strict=True):
        source.push(frame)
        source.push(None)
    return float(sink.pull().metadata["lavfi.ssim.All"])


@pytest.mark.parametrize("noise", [0.5, 4, 25])
def test_agrees_with_the_ssim_filter(noise: float) -> None:
    one, other = make_picture(1, noise), make_picture(2, noise)
    planes = [[plane_view(plane).astype(np.float32) for plane in frame.planes] for frame in (one, other)]
    assert ssim(*planes) == pytest.approx(ffmpeg_ssim(one, other), abs=2e-4)


@settings(deadline=None)
@given(st.integers(0, 99), st.floats(0, 40))
def test_a_picture_is_identical_to_itself_and_to_no_other(seed: int, shift: float) -> None:
    plane = np.random.default_rng(seed).uniform(40, 200, (24, 32)).astype(np.float32)
    assert plane_ssim(plane, plane) == pytest.approx(1)
    assert plane_ssim(plane, plane + np.float32(shift)) <= 1 + 1e-5
    assert plane_ssim(plane, plane[::-1]) < 0.9

"""Rendering of damaged source videos in processes of their own, which a test can see die."""

import io
from collections.abc import Sequence

from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options

FrameOutcome = tuple[str, str | None]


def render_outcomes(original: bytes, variants: Sequence[bytes]) -> list[list[FrameOutcome]]:
    """(outcome, reason) of every picture of the whole file, each variant in its place since the scan."""
    times = probe_video(io.BytesIO(original)).pts
    refs = tuple(FrameRef(index, "v", pts=pts) for index, pts in enumerate(times))
    plan = SegmentPlan(0, 0, "bucket", options(source_kind="video", codec="mjpeg", form="yuvj420p"), refs)
    found = []
    for data in variants:
        store = MemoryObjects({"v": data})
        result = render_segment(plan, store, store, lambda done: None)
        found.append([(report.outcome, report.reason) for report in result.reports])
    return found

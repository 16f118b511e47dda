"""Renders damaged source videos in child processes, so that a test can detect a crash."""

import io
from collections.abc import Sequence

from service.pipeline.frame_context import FrameWatch
from service.pipeline.probe import probe_video
from service.pipeline.segment import render_segment
from service.plan.render_plan import FrameRef, SegmentPlan
from tests.pipeline.rendering import MemoryObjects, options

FrameOutcome = tuple[str, str | None]


def render_outcomes(original: bytes, variants: Sequence[bytes]) -> list[list[FrameOutcome]]:
    """(outcome, reason) of every frame that the scan found, for each damaged variant of the file."""
    times = probe_video(io.BytesIO(original)).pts
    refs = tuple(FrameRef(index, "v", pts=pts) for index, pts in enumerate(times))
    plan = SegmentPlan(0, 0, "bucket", options(source_kind="video", codec="mjpeg", form="yuvj420p"), refs)
    found = []
    for data in variants:
        store = MemoryObjects({"v": data})
        result = render_segment(plan, store, store, FrameWatch())
        found.append([(report.outcome, report.reason) for report in result.reports])
    return found

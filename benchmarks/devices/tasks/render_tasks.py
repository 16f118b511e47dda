"""Whole renders through `render_segment`: one segment per process, from JPEGs in memory."""

import io
from dataclasses import replace
from typing import BinaryIO

import av

from benchmarks.devices.cases import PARITY_QUALITY, Case
from benchmarks.devices.parity import Luma
from benchmarks.devices.tasks.workbench import Workbench
from service.pipeline.cuda.errors import CudaCallFailed
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import FrameMissing, SegmentResult
from service.pipeline.planes import plane_views
from service.pipeline.segment import render_segment
from service.plan.render_plan import CPU_ONLY, Backend, FrameRef, RenderOptions, SegmentPlan

# Path name (where decode, transform and encode run) -> backend.
PATHS = {
    "cpu > cpu > cpu": CPU_ONLY,
    "gpu > gpu > cpu": Backend("cuda", "cpu"),
    "cpu > cpu > gpu": Backend("cpu", "nvenc"),
    "gpu > gpu > gpu": Backend("cuda", "nvenc"),
}
UNSUPPORTED_PATHS = ("cpu > gpu > cpu", "cpu > gpu > gpu", "gpu > cpu > cpu", "gpu > cpu > gpu")
UNSUPPORTED_REASON = "not supported: JPEGs are decoded and transformed on the same device (docs/gpu.md)"


class MemoryFrames:
    """Frame and stream reader of JPEGs in memory."""

    def __init__(self, images: list[bytes]) -> None:
        self._images = images

    def read(self, ref: FrameRef) -> bytes:
        return self._images[ref.index]

    def open(self, ref: FrameRef) -> BinaryIO:
        raise FrameMissing


def render(bench: Workbench, case: Case, family: Backend, frames: int) -> int:
    """Bytes of the segment. Raises CudaCallFailed if a frame fell back to another path."""
    return len(_render_frames(bench, case, case.options(family), frames).data) if frames else 0


def render_for_parity(bench: Workbench, case: Case, family: Backend, frames: int) -> bytes:
    """Render for a parity check: losslessly if the CPU encodes, else with as little loss as possible."""
    options = case.options(family, PARITY_QUALITY)
    return _render_frames(
        bench, case, replace(options, codec="ffv1") if family.encoder == "cpu" else options, frames
    ).data


def encode_for_parity(bench: Workbench, case: Case, frames: int) -> bytes:
    """Render and encode on the CPU with as little loss as possible."""
    return _render_frames(bench, case, case.options(quality=PARITY_QUALITY), frames).data


def _render_frames(bench: Workbench, case: Case, options: RenderOptions, frames: int) -> SegmentResult:
    memory = MemoryFrames(bench.jpegs(case.source, frames))
    refs = tuple(FrameRef(index, f"{index}.jpg") for index in range(frames))
    plan = SegmentPlan(0, 0, "benchmark", options, refs)
    device = None if options.family == CPU_ONLY else bench.slot
    result = render_segment(plan, memory, memory, FrameWatch(), device)
    others = [
        report.fallback or report.reason for report in result.reports if report.fallback or report.outcome != "ok"
    ]
    if others:
        raise CudaCallFailed(f"{len(others)} of {frames} frames fell back: {others[0]}")
    return result


def decode_lumas(video: bytes) -> list[Luma]:
    """Luma of every picture, each (H, W) of uint8."""
    with av.open(io.BytesIO(video), "r") as container:
        return [plane_views(frame)[0].copy() for frame in container.decode(video=0)]

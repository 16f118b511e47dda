"""One source frame on its way through the device, and the pipeline stage that hands the result to the CPU stages."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from av import VideoFrame

from service.pipeline.cuda.driver import Bytes2D, DeviceImage
from service.pipeline.cuda.eligibility import Candidate
from service.pipeline.frame_context import FrameContext
from service.pipeline.frames import DevicePicture, Fallback, FallbackCode, FallbackStage, FrameReader
from service.pipeline.picture import ClipCounts
from service.pipeline.planes import plane_view
from service.plan.render_plan import FrameRef


@dataclass(slots=True)
class DeviceFrame:
    """What became of it: `planes` (H*3/2, W) of Y, Cb, Cr, or a `picture` that stays on the device, or neither.

    `failure` is what fetching it raised; `fallback` says why a candidate is the CPU's after all; without one and
    without a candidate it always was. A frame that is `laid` is part of its bin's picture, which is with the first.
    """

    ref: FrameRef
    data: bytes = b""
    sha256: str | None = None
    failure: Exception | None = None
    candidate: Candidate | None = None
    image: DeviceImage | None = None
    fallback: Fallback | None = None
    planes: Bytes2D | None = None
    picture: DevicePicture | None = None
    clipped: ClipCounts | None = None
    merged_into_bin: bool = False

    def fall_back(self, stage: FallbackStage, code: FallbackCode, reason: str) -> None:
        """It is the CPU's."""
        self.image, self.merged_into_bin = None, False
        self.candidate, self.fallback = None, Fallback(stage, code, reason)


def fetch_frame(ref: FrameRef, reader: FrameReader) -> DeviceFrame:
    """The bytes and their digest, or what came in the way. Holes and pages of stacks are not fetched."""
    made = DeviceFrame(ref)
    if ref.key is None or ref.page is not None:
        return made
    try:
        made.data = reader.read(ref)
        made.sha256 = hashlib.sha256(made.data).hexdigest()
    except Exception as failure:  # raised again where this frame is wanted, in its turn
        made.failure = failure
    return made


class DeviceFrameStage:
    """Gives each of the planned frames once, in their order; frames before the segment are the CPU's."""

    name = "decode"

    def __init__(self, frames: Iterator[DeviceFrame], planned_refs: Collection[FrameRef]) -> None:
        self._frames, self._remaining = frames, set(planned_refs)

    def __call__(self, context: FrameContext) -> None:
        """Raises what fetching the frame raised, and DeviceLost."""
        if context.ref not in self._remaining:
            return
        self._remaining.discard(context.ref)
        made = next(made for made in self._frames if made.ref == context.ref)
        context.sha256, context.fallback = made.sha256, made.fallback
        if made.failure is not None:
            raise made.failure
        if made.candidate is None:
            context.data = made.data
            return
        context.decoder, context.clip_counts, context.merged_into_bin = (
            made.candidate.decoder,
            made.clipped,
            made.merged_into_bin,
        )
        context.reason = made.candidate.transform_for(made.merged_into_bin).reason
        if not made.merged_into_bin or made.planes is not None:
            context.frame = made.picture or _copy_to_frame(made)


def _copy_to_frame(device_frame: DeviceFrame) -> VideoFrame:
    """A copy: the pinned memory that it comes from is written again soon."""
    assert device_frame.planes is not None
    return i420_to_frame(device_frame.planes)


def i420_to_frame(planes: Bytes2D) -> VideoFrame:
    """(H*3/2, W) planes of Y, Cb, Cr one after the other -> yuv420p."""
    height, width = planes.shape[0] // 3 * 2, planes.shape[1]
    frame = VideoFrame(width, height, "yuv420p")
    flat = planes.reshape(-1)
    luma, chroma = width * height, width * height // 4
    plane_view(frame.planes[0])[:] = flat[:luma].reshape(height, width)
    for plane, start in zip(frame.planes[1:], (luma, luma + chroma), strict=True):
        plane_view(plane)[:] = flat[start : start + chroma].reshape(height // 2, width // 2)
    return frame


def frame_to_nv12(frame: VideoFrame) -> Bytes2D:
    """yuv420p -> (H*3/2, W) NV12."""
    luma, blue, red = (plane_view(plane) for plane in frame.planes)
    packed = np.empty((frame.height // 2 * 3, frame.width), np.uint8)
    packed[: frame.height] = luma
    chroma = packed[frame.height :].reshape(frame.height // 2, frame.width // 2, 2)
    chroma[..., 0], chroma[..., 1] = blue, red
    return packed

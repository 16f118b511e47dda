"""The state of one source frame on the device, and the pipeline stage that hands the result to the CPU stages."""

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
    """One source frame. Without a `candidate` the CPU processes it; `fallback` is why a device did not."""

    ref: FrameRef
    data: bytes = b""
    sha256: str | None = None
    # Raised by fetching the bytes.
    failure: Exception | None = None
    candidate: Candidate | None = None
    # A decoded frame of a video.
    image: DeviceImage | None = None
    fallback: Fallback | None = None
    # The result: (H*3/2, W) planes of Y, Cb, Cr in pinned memory, or a picture that stays on the device.
    planes: Bytes2D | None = None
    picture: DevicePicture | None = None
    clipped: ClipCounts | None = None
    # Part of a bin that the device has merged: the first frame of the bin has the picture.
    merged_into_bin: bool = False

    def fall_back(self, stage: FallbackStage, code: FallbackCode, reason: str) -> None:
        """Process this frame on the CPU instead."""
        self.image, self.merged_into_bin = None, False
        self.candidate, self.fallback = None, Fallback(stage, code, reason)


def fetch_frame(ref: FrameRef, reader: FrameReader) -> DeviceFrame:
    """Fetch the bytes and their digest, or record the failure. Gaps and pages of TIFF stacks are not fetched."""
    frame = DeviceFrame(ref)
    if ref.key is None or ref.page is not None:
        return frame
    try:
        frame.data = reader.read(ref)
        frame.sha256 = hashlib.sha256(frame.data).hexdigest()
    except Exception as failure:  # raised again when it is this frame's turn
        frame.failure = failure
    return frame


class DeviceFrameStage:
    """Takes each planned frame once, in order, from the prefetcher; lead frames before the segment run on the CPU."""

    name = "decode"

    def __init__(self, frames: Iterator[DeviceFrame], planned_refs: Collection[FrameRef]) -> None:
        self._frames, self._remaining = frames, set(planned_refs)

    def __call__(self, context: FrameContext) -> None:
        """Raises DeviceLost, and whatever fetching the frame raised."""
        if context.ref not in self._remaining:
            return
        self._remaining.discard(context.ref)
        frame = next(frame for frame in self._frames if frame.ref == context.ref)
        context.sha256, context.fallback = frame.sha256, frame.fallback
        if frame.failure is not None:
            raise frame.failure
        if frame.candidate is None:
            context.data = frame.data
            return
        context.decoder, context.clip_counts = frame.candidate.decoder, frame.clipped
        context.merged_into_bin = frame.merged_into_bin
        context.conversions += frame.candidate.conversions
        context.reason = frame.candidate.transform_for(frame.merged_into_bin).reason
        if frame.picture is not None:
            context.frame = frame.picture
        elif frame.planes is not None:
            context.frame = i420_to_frame(frame.planes)  # a copy: the pinned memory is soon overwritten
        else:
            assert frame.merged_into_bin, "neither picture nor planes"


def i420_to_frame(planes: Bytes2D) -> VideoFrame:
    """(H*3/2, W), the planes of Y, Cb, Cr one after the other -> a copy as yuv420p."""
    height, width = planes.shape[0] // 3 * 2, planes.shape[1]
    frame = VideoFrame(width, height, "yuv420p")
    flat = planes.reshape(-1)
    luma, chroma = width * height, width * height // 4
    plane_view(frame.planes[0])[:] = flat[:luma].reshape(height, width)
    for plane, start in zip(frame.planes[1:], (luma, luma + chroma), strict=True):
        plane_view(plane)[:] = flat[start : start + chroma].reshape(height // 2, width // 2)
    return frame


def frame_to_nv12(frame: VideoFrame) -> Bytes2D:
    """yuv420p -> NV12 (H*3/2, W)."""
    luma, blue, red = (plane_view(plane) for plane in frame.planes)
    packed = np.empty((frame.height // 2 * 3, frame.width), np.uint8)
    packed[: frame.height] = luma
    chroma = packed[frame.height :].reshape(frame.height // 2, frame.width // 2, 2)
    chroma[..., 0], chroma[..., 1] = blue, red
    return packed

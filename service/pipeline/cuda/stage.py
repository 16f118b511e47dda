"""The device as the first stage: a frame that it has made needs no other, any other is left to the CPU's stages."""

from collections.abc import Collection, Iterator

import numpy as np
from av import VideoFrame

from service.pipeline.cuda.driver import Bytes2D
from service.pipeline.cuda.made import Made
from service.pipeline.planes import view
from service.pipeline.work import Work
from service.plan.render_plan import FrameRef


class FromDevice:
    """Gives each of the planned frames once, in their order; frames before the segment are the CPU's."""

    name = "decode"

    def __init__(self, frames: Iterator[Made], planned: Collection[FrameRef]) -> None:
        self._frames, self._left = frames, set(planned)

    def __call__(self, work: Work) -> None:
        """Raises what fetching the frame raised, and DeviceLost."""
        if work.ref not in self._left:
            return
        self._left.discard(work.ref)
        made = next(made for made in self._frames if made.ref == work.ref)
        work.sha256, work.fallback = made.sha256, made.fallback
        if made.failure is not None:
            raise made.failure
        if made.candidate is None:
            work.data = made.data
            return
        work.decoder, work.clipped, work.laid = made.candidate.decoder, made.clipped, made.laid
        work.reason = made.candidate.placed(made.laid).reason
        if not made.laid or made.planes is not None:
            work.frame = made.picture or _frame(made)


def _frame(made: Made) -> VideoFrame:
    """A copy: the pinned memory that it comes from is written again soon."""
    assert made.planes is not None
    return frame_of_planes(made.planes)


def frame_of_planes(planes: Bytes2D) -> VideoFrame:
    """(H*3/2, W) planes of Y, Cb, Cr one after the other -> yuv420p."""
    height, width = planes.shape[0] // 3 * 2, planes.shape[1]
    frame = VideoFrame(width, height, "yuv420p")
    flat = planes.reshape(-1)
    luma, chroma = width * height, width * height // 4
    view(frame.planes[0])[:] = flat[:luma].reshape(height, width)
    for plane, start in zip(frame.planes[1:], (luma, luma + chroma), strict=True):
        view(plane)[:] = flat[start : start + chroma].reshape(height // 2, width // 2)
    return frame


def nv12_of_frame(frame: VideoFrame) -> Bytes2D:
    """yuv420p -> (H*3/2, W) NV12."""
    luma, blue, red = (view(plane) for plane in frame.planes)
    packed = np.empty((frame.height // 2 * 3, frame.width), np.uint8)
    packed[: frame.height] = luma
    chroma = packed[frame.height :].reshape(frame.height // 2, frame.width // 2, 2)
    chroma[..., 0], chroma[..., 1] = blue, red
    return packed

"""One source frame on its way through a device."""

import hashlib
from dataclasses import dataclass

from service.pipeline.cuda.candidate import Candidate
from service.pipeline.cuda.driver import Bytes2D, DeviceImage, DevicePicture
from service.pipeline.frames import Fallback, FallbackCode, FallbackStage, FrameReader
from service.pipeline.window import ClipCounts
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

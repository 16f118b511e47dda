"""Stage 1 for image frames: the object's bytes and their digest."""

import hashlib

from service.pipeline.frames import FrameMissing, FrameReader
from service.pipeline.work import FrameContext


class FetchStage:
    """Pages of a stack are not fetched here: they are read by ranges as they are decoded."""

    name = "fetch"

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader

    def __call__(self, context: FrameContext) -> None:
        if context.ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        if (
            context.ref.page is not None or context.sha256 is not None
        ):  # a page, or fetched for a device that gave it up
            return
        context.data = self._reader.read(context.ref)
        context.sha256 = hashlib.sha256(context.data).hexdigest()

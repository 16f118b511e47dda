"""Stage 1 for image frames: the object's bytes and their digest."""

import hashlib

from service.pipeline.frames import FrameMissing, FrameReader
from service.pipeline.work import Work


class FetchImage:
    """Pages of a stack are not fetched here: they are read by ranges as they are decoded."""

    name = "fetch"

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader

    def __call__(self, work: Work) -> None:
        if work.ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        if work.ref.page is not None or work.sha256 is not None:  # a page, or fetched for a device that gave it up
            return
        work.data = self._reader.read(work.ref)
        work.sha256 = hashlib.sha256(work.data).hexdigest()

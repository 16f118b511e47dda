"""Renders segments from frames in memory."""

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any, BinaryIO

import av

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import FrameMissing, SegmentResult
from service.pipeline.segment import render_segment
from service.plan.render_plan import FrameRef, RenderOptions, SegmentPlan
from tests.support.data import media

Render = Callable[..., SegmentResult]


class MemoryObjects:
    """FrameReader and SourceReader over a dict; `read_keys` records the keys that were read, in order."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects
        self.read_keys: list[str | None] = []

    def read(self, ref: FrameRef) -> bytes:
        self.read_keys.append(ref.key)
        try:
            return self._objects[ref.key or ""]
        except KeyError:
            raise FrameMissing from None

    def open(self, ref: FrameRef) -> BinaryIO:
        return io.BytesIO(self.read(ref))


def options(**changes: Any) -> RenderOptions:
    base = {"codec": "h264", "quality": 70, "fps": Fraction(30), "width": 128, "height": 96}
    return RenderOptions(**(base | changes))


def render(
    objects: list[bytes | None], lead: int = 0, progress: Callable[[int], None] = lambda _: None, **changes: Any
) -> SegmentResult:
    """Render a list of images (None: a gap in the numbering); the first `lead` of them are before the segment."""
    store = {f"{index}.jpg": data for index, data in enumerate(objects) if data is not None}
    refs = tuple(FrameRef(i, None if data is None else f"{i}.jpg") for i, data in enumerate(objects))
    plan = SegmentPlan(0, 0, "bucket", options(**changes), refs[lead:], refs[:lead])
    reader = MemoryObjects(store)
    return render_segment(plan, reader, reader, FrameWatch(progress))


def decode_pictures(data: bytes) -> list[media.Pixels]:
    """Every frame of an MP4 as RGB, in presentation order."""
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def read_numbers(data: bytes) -> list[int]:
    return [media.read_number(picture) for picture in decode_pictures(data)]


def numbered_jpegs(count: int) -> list[bytes | None]:
    return [media.jpeg(media.numbered_picture(number)) for number in range(count)]

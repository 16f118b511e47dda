"""Cut the chosen source frames into segments. Pure: frames in, segments out, nothing held but one segment."""

import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from service.errors import invalid_field
from service.plan.render_plan import PIPELINE_VERSION, FrameRef, RenderOptions, SegmentPlan

SEGMENT_SECONDS = Fraction(5, 2)
"""Output seconds of a segment: short enough to share a 10 s render over cores, long enough for the encoder."""

RAMP_FRAMES = (12, 24)
"""Frames of the first segments, where longer ones would follow: at 1080p a core makes 12 in about 0.4 s."""

LEAD_FRAMES = 4
"""How many earlier frames a segment may fall back on when its first frame must be held."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Positions start, start + step, … below stop, on the dataset's time line."""

    start: int
    stop: int
    step: int

    def count(self) -> int:
        return len(range(self.start, self.stop, self.step))

    @property
    def first(self) -> int:
        """The place of the first frame among start % step, start % step + step, …"""
        return self.start // self.step


def select(timeline: int, step: int, start: int | None, stop: int | None) -> Selection:
    """The positions to render of a time line of `timeline` frames; raises Invalid when none is left."""
    selection = Selection(start or 0, timeline if stop is None else min(stop, timeline), step)
    if timeline == 0:
        raise invalid_field("#/dataset_id", "the dataset has no frames: register some, then scan it", "empty_dataset")
    if selection.count() == 0:
        detail = f"no frame lies between start and stop: the dataset has frames 0 to {timeline - 1}"
        raise invalid_field("#/frames", detail, "empty_range")
    return selection


def segment_length(fps: Fraction) -> int:
    """Frames of a segment: 2.5 s of output, at least 16 frames unless those would last over 8 s."""
    return max(round(SEGMENT_SECONDS * fps), min(16, int(8 * fps)), 1)


def segment_ends(first: int, fps: Fraction) -> Iterator[int]:
    """Where segments end, without end: counts of output frames, ascending, all > 0.

    `first` is the first frame's place among all that this decimation could choose. Segments end where that place is a
    multiple of the segment length, so that renders of overlapping ranges share them; only the first few depend on
    where the range begins: they are short, so that there is something to watch at once.
    """
    length, end = segment_length(fps), 0
    for frames in RAMP_FRAMES:
        if frames < length:
            end += frames
            yield end
    while True:
        end += length - (first + end) % length
        yield end


async def cut(
    frames: AsyncIterator[FrameRef], bucket: str, options: RenderOptions, first: int = 0
) -> AsyncIterator[SegmentPlan]:
    """Group frames, in output order, into segments whose boundaries depend only on the position (see segment_ends)."""
    ends = segment_ends(first, options.fps)
    lead: deque[FrameRef] = deque(maxlen=LEAD_FRAMES)
    batch: list[FrameRef] = []
    number, begin, end = 0, 0, next(ends)
    async for frame in frames:
        batch.append(frame)
        if begin + len(batch) == end:
            yield SegmentPlan(number, begin, bucket, options, tuple(batch), tuple(lead))
            lead.extend(batch)
            batch, number, begin, end = [], number + 1, end, next(ends)
    if batch:
        yield SegmentPlan(number, begin, bucket, options, tuple(batch), tuple(lead))


def render_key(dataset: dict[str, Any], selection: Selection, options: RenderOptions) -> str:
    """sha256 (hex) of what the video is a function of: the dataset's content digest, the positions, the options."""
    parts = [
        PIPELINE_VERSION,
        str(dataset["id"]),
        dataset["digest"],
        [selection.start, selection.stop, selection.step],
        options.to_json(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

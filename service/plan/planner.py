"""Cut the chosen source frames into segments. Pure: frames in, segments out, nothing held but one segment."""

import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from service.errors import invalid_field
from service.plan.render_plan import PIPELINE_VERSION, FrameRef, RenderOptions, SegmentPlan
from service.plan.timing import TICKS

SEGMENT_SECONDS = Fraction(5, 2)
"""Output seconds of a segment: short enough to share a 10 s render over cores, long enough for the encoder."""

SOURCE_FRAMES = 4096
"""Source frames of a segment, unless one bin has more."""

LEAD_FRAMES = 4
"""How many earlier frames a segment may fall back on when its first frame must be held."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Positions start, start + step, … below stop, on the dataset's time line.

    `whole`: each stands for a bin of `step` positions, all of which are read.
    """

    start: int
    stop: int
    step: int
    whole: bool = False

    @property
    def stride(self) -> int:
        """From one position that is read to the next."""
        return 1 if self.whole else self.step

    def count(self) -> int:
        """Output frames."""
        return len(range(self.start, self.stop, self.step))

    def read(self) -> int:
        """Source frames that are read."""
        return len(range(self.start, self.stop, self.stride))


def select(timeline: int, step: int, start: int | None, stop: int | None, whole: bool = False) -> Selection:
    """The positions to render of a time line of `timeline` frames; raises Invalid when none is left."""
    selection = Selection(start or 0, timeline if stop is None else min(stop, timeline), step, whole)
    if timeline == 0:
        raise invalid_field("#/dataset_id", "the dataset has no frames: register some, then scan it", "empty_dataset")
    if selection.count() == 0:
        detail = f"no frame lies between start and stop: the dataset has frames 0 to {timeline - 1}"
        raise invalid_field("#/frames", detail, "empty_range")
    return selection


def outputs_of_segment(options: RenderOptions) -> int:
    """Output frames of a segment; fewer where each is made of many source frames, so that slots can share the work."""
    size = options.bins.size if options.bins else 1
    return min(segment_length(options.fps), max(SOURCE_FRAMES // size, 1))


def segment_length(fps: Fraction) -> int:
    """Frames of a segment: 2.5 s of output, at least 16 frames unless those would last over 8 s."""
    return max(round(SEGMENT_SECONDS * fps), min(16, int(8 * fps)), 1)


async def cut(frames: AsyncIterator[FrameRef], bucket: str, options: RenderOptions) -> AsyncIterator[SegmentPlan]:
    """Group frames, in output order, into segments whose boundaries depend only on the position."""
    size = options.bins.size if options.bins else 1
    lead: deque[FrameRef] = deque(maxlen=size if options.bins else LEAD_FRAMES)
    batch: list[FrameRef] = []
    number, first, ticks = 0, 0, 0
    is_full = _timed_end(options) if options.timing else _steady_end(options)
    async for frame in frames:
        batch.append(frame)
        ticks += frame.shown_for or 0
        outputs, rest = divmod(len(batch), size)
        if not rest and is_full(outputs, ticks):
            yield SegmentPlan(number, first, bucket, options, tuple(batch), tuple(lead))
            lead.extend(batch)
            batch, number, first, ticks = [], number + 1, first + outputs, 0
    if batch:
        yield SegmentPlan(number, first, bucket, options, tuple(batch), tuple(lead))


def _steady_end(options: RenderOptions) -> Callable[[int, int], bool]:
    """Whether a segment of so many outputs is whole."""
    length = outputs_of_segment(options)
    return lambda outputs, _: outputs == length


def _timed_end(options: RenderOptions) -> Callable[[int, int], bool]:
    """Whether a segment of so many outputs and ticks is whole: the lengths of `segment_length`, in time."""
    most = max(SOURCE_FRAMES // (options.bins.size if options.bins else 1), 1)
    least, longest = int(SEGMENT_SECONDS * TICKS), 8 * TICKS
    return lambda outputs, ticks: ticks >= longest or (ticks >= least and outputs >= 16) or outputs >= min(most, 600)


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

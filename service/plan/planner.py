"""Cut the chosen source frames into segments. Pure: frames in, segments out, nothing held but one segment."""

import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, chain, pairwise, repeat
from typing import Any

from service.errors import invalid_field
from service.plan.render_plan import PIPELINE_VERSION, FrameRef, RenderOptions, SegmentPlan
from service.plan.timing import TICKS

SEGMENT_SECONDS = Fraction(5, 2)
"""Output seconds of a segment: short enough to share a 10 s render over cores, long enough for the encoder."""

AV1_SECONDS = Fraction(5)
"""The same of AV1, whose frames take half as long, and of those the first ones after a key frame the longest: of ten
seconds at 1080p, segments of 5 s instead of 2.5 take 5 % less CPU and a fifth fewer bytes."""

RAMP_FRAMES = (15, 60)
"""Frames of the first segments of a long render, as many as are shorter together than its usual ones: at 1080p a core
makes 15 in about half a second, and the next are there before much time has passed."""

RAMP_FROM = 8
"""Times `SEGMENT_SECONDS` that make a render long. A shorter one is soon done, and would pay for the ramp: a key frame
is 4 % of the bytes of a ten-second video, and an odd segment out leaves slots idle at the end."""

SOURCE_FRAMES = 4096
"""Source frames of a segment, unless one bin has more."""

TIMED_FRAMES = 600
"""Output frames of a segment of a render that is paced by capture times."""

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

    @property
    def first(self) -> int:
        """The place of the first frame among start % step, start % step + step, …"""
        return self.start // self.step

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
    return min(segment_length(options.fps, _seconds(options)), _most_outputs(options))


def _seconds(options: RenderOptions) -> Fraction:
    return AV1_SECONDS if options.codec == "av1" else SEGMENT_SECONDS


def _most_outputs(options: RenderOptions) -> int:
    return max(SOURCE_FRAMES // (options.bins.size if options.bins else 1), 1)


def segment_length(fps: Fraction, seconds: Fraction = SEGMENT_SECONDS) -> int:
    """Frames of a segment of so many seconds of output: at least 16 frames unless those would last over 8 s."""
    return max(round(seconds * fps), min(16, int(8 * fps)), 1)


def _ramp(outputs: int, length: int, alone: int) -> Iterator[int]:
    """Frames of the short segments at the beginning, so that there is something to watch at once."""
    short = zip(RAMP_FRAMES, accumulate(RAMP_FRAMES), strict=True)
    return (frames for frames, end in short if end < length and outputs >= RAMP_FROM * alone)


def _halves(outputs: int) -> Iterator[int]:
    yield from (outputs - outputs // 2, outputs // 2)


def segment_ends(first: int, outputs: int, length: int, alone: int) -> Iterator[int]:
    """Where segments end, without end: counts of output frames, ascending, all > 0.

    `first` is the first frame's place among all that this decimation could choose, `outputs` how many there are.
    Segments end where that place is a multiple of the segment's usual `length`, so that renders of overlapping ranges
    share them; only the first depend on where the range begins. What is more than one slot should do `alone`, and at
    most two segments, is halved, so that two slots end at the same time: sharing so little would save less.
    """
    end = 0
    for frames in _halves(outputs) if alone < outputs <= 2 * length else _ramp(outputs, length, alone):
        end += frames
        yield end
    while True:
        end += length - (first + end) % length
        yield end


async def cut(
    frames: AsyncIterator[FrameRef], bucket: str, options: RenderOptions, chosen: Selection
) -> AsyncIterator[SegmentPlan]:
    """Group the chosen frames, in output order, into segments: at a steady rate their boundaries depend only on the
    position (see segment_ends), paced by capture times they come sooner where that much time has passed."""
    size = options.bins.size if options.bins else 1
    lead: deque[FrameRef] = deque(maxlen=size if options.bins else LEAD_FRAMES)
    batch: list[FrameRef] = []
    lengths = (_timed_lengths if options.timing else _steady_lengths)(options, chosen)
    number, begin, ticks, length = 0, 0, 0, next(lengths)
    async for frame in frames:
        batch.append(frame)
        ticks += frame.shown_for or 0
        outputs, rest = divmod(len(batch), size)
        if not rest and (outputs >= length or (ticks and _lasts(outputs, ticks, _seconds(options)))):
            yield SegmentPlan(number, begin, bucket, options, tuple(batch), tuple(lead))
            lead.extend(batch)
            batch, number, begin, ticks, length = [], number + 1, begin + outputs, 0, next(lengths)
    if batch:
        yield SegmentPlan(number, begin, bucket, options, tuple(batch), tuple(lead))


def _steady_lengths(options: RenderOptions, chosen: Selection) -> Iterator[int]:
    """Output frames of each segment."""
    ends = segment_ends(chosen.first, chosen.count(), outputs_of_segment(options), _alone(options))
    return (end - begin for begin, end in pairwise(chain((0,), ends)))


def _alone(options: RenderOptions) -> int:
    """The most output frames that are left to one slot while another could help."""
    return min(segment_length(options.fps), _most_outputs(options))


def _timed_lengths(options: RenderOptions, chosen: Selection) -> Iterator[int]:
    """The most output frames of each segment."""
    ramp = _ramp(chosen.count(), outputs_of_segment(options), _alone(options))
    return chain(ramp, repeat(min(_most_outputs(options), TIMED_FRAMES)))


def _lasts(outputs: int, ticks: int, seconds: Fraction) -> bool:
    """Whether that is time enough for a segment: as long as `segment_length` makes them. `ticks` is 0 at a steady
    rate."""
    return ticks >= 8 * TICKS or (outputs >= 16 and ticks >= seconds * TICKS)


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

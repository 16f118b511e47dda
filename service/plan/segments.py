"""Which frames a render reads, and how they are split into segments.

Splitting is a stream: frames in, segments out, with only one segment in memory.
"""

import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import accumulate, chain, pairwise, repeat
from typing import Any

from service.errors import FieldProblem, InvalidRequest, invalid_field
from service.plan.facts import CapturedFrames, DatasetFacts
from service.plan.render_plan import PIPELINE_VERSION, TICKS, FramePolicy, FrameRef, Gaps, RenderOptions, SegmentPlan

# Output seconds of a segment: short enough to share a 10 s render over cores, long enough for the encoder.
SEGMENT_SECONDS = Fraction(5, 2)

# The same of AV1. Its frames take half as long to encode, and the first ones after a key frame the longest: of ten
# seconds at 1080p, segments of 5 s instead of 2.5 take 5 % less CPU and a fifth fewer bytes.
AV1_SECONDS = Fraction(5)

# The same of effort small, where a key frame is predicted from: see docs/quality.md.
SMALL_SECONDS = Fraction(5)

# Frames of the first segments of a long render, as far as they are shorter together than a usual one: at 1080p a core
# makes 15 in about half a second, and the next are ready before much time has passed.
STARTUP_FRAMES = (15, 60)

# A render is long from this many times SEGMENT_SECONDS. A shorter one gets no start-up segments: the extra key frame is
# 4 % of the bytes of a ten-second video, and an odd segment out leaves slots idle at the end.
LONG_RENDER_SEGMENTS = 8

# Source frames of a segment, unless one bin has more.
MAX_SOURCE_FRAMES = 4096

# Output frames of a segment of a render that is paced by capture times.
MAX_TIMED_FRAMES = 600

# How many earlier frames a segment may fall back on when its first frame must be held.
LEAD_FRAMES = 4


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Capture times with an offset, `since` included and `until` excluded; None: open."""

    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class FrameRangeSpec:
    """The frame range of a request: positions from `start` to before `stop`, or capture times, instead of them.

    A time without an offset is the camera's own clock, and counts as UTC.
    """

    start: int = 0
    stop: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def window(self) -> TimeWindow | None:
        """The time window; None when the range is one of positions."""
        if self.since is None and self.until is None:
            return None
        return TimeWindow(_with_offset(self.since), _with_offset(self.until))


def _with_offset(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def window_error(spec: FrameRangeSpec, dataset: DatasetFacts) -> InvalidRequest | None:
    """Why the time window cannot be used, with a pointer into `#/frames`; None when it can, or when there is none."""
    window = spec.window
    if window is None:
        return None
    pointer = "#/frames/from" if spec.since else "#/frames/to"
    if error := dataset.capture_times_error(pointer, "choose frames by start and stop"):
        return error
    if spec.start or spec.stop is not None:
        return invalid_field(pointer, "give either a time window or start and stop, not both", "exclusive")
    if window.since and window.until and window.since >= window.until:
        return invalid_field("#/frames/to", "the window ends before it begins", "empty_range")
    return None


def frame_range(
    spec: FrameRangeSpec | None,
    dataset: DatasetFacts,
    captured: CapturedFrames | None,
    missing: FramePolicy,
    gaps: Gaps = "numbers",
) -> tuple[int | None, int | None]:
    """(start, stop) as positions of the dataset; None: open. `captured` are the frames in the time window.

    Raises InvalidRequest, pointing into `#/frames`, for a window that cannot be used or that has no frame.
    """
    if spec is None:
        return None, None
    if spec.window is None:
        return spec.start, spec.stop
    if error := window_error(spec, dataset):
        raise error
    if captured is None:
        assert dataset.captured is not None
        span = " to ".join(moment.isoformat() for moment in dataset.captured)
        raise invalid_field("#/frames", f"no frame was captured in this window: the dataset has {span}", "empty_range")
    first, stride = dataset.number_first, dataset.number_stride
    low, high = captured.first_number, captured.last_number
    if not dataset.counts_gaps(missing, gaps) or first is None or not stride or low is None or high is None:
        return captured.first_index, captured.last_index + 1
    return (low - first) // stride, (high - first) // stride + 1


@dataclass(frozen=True, slots=True)
class Selection:
    """The positions start, start + step, … below stop.

    `binned`: each stands for a bin of `step` positions, all of which are read.
    """

    start: int
    stop: int
    step: int
    binned: bool = False

    @property
    def stride(self) -> int:
        """From one position that is read to the next."""
        return 1 if self.binned else self.step

    @property
    def first(self) -> int:
        """The place of the first frame among start % step, start % step + step, …"""
        return self.start // self.step

    def output_count(self) -> int:
        return len(range(self.start, self.stop, self.step))

    def source_count(self) -> int:
        """Source frames that are read."""
        return len(range(self.start, self.stop, self.stride))


def select_frames(positions: int, step: int, start: int | None, stop: int | None, binned: bool = False) -> Selection:
    """The positions to render of a dataset that has `positions` of them.

    Raises InvalidRequest, pointing at `#/dataset_id` or `#/frames`, when none is left.
    """
    selection = Selection(start or 0, positions if stop is None else min(stop, positions), step, binned)
    if positions == 0:
        raise invalid_field("#/dataset_id", "the dataset has no frames: register some, then scan it", "empty_dataset")
    if selection.output_count() == 0:
        detail = f"no frame lies between start and stop: the dataset has frames 0 to {positions - 1}"
        raise invalid_field("#/frames", detail, "empty_range")
    return selection


def segment_length(fps: Fraction, seconds: Fraction = SEGMENT_SECONDS) -> int:
    """Frames of a segment of so many seconds of output: at least 16 frames unless those would last over 8 s."""
    return max(round(seconds * fps), min(16, int(8 * fps)), 1)


def frames_per_segment(options: RenderOptions) -> int:
    """Output frames of a segment; fewer where each is made of many source frames, so that slots can share the work."""
    return min(segment_length(options.fps, _segment_seconds(options)), _max_outputs(options))


def segment_ends(first: int, outputs: int, length: int, max_unsplit: int) -> Iterator[int]:
    """Where segments end: an endless ascending sequence of counts of output frames, all > 0.

    `first` is the first frame's place among all that this decimation could select, `outputs` how many there are.
    Segments end where that place is a multiple of the usual `length`, so that renders of overlapping ranges share them;
    only the first ones depend on where the range begins. A render of more than `max_unsplit` frames and at most two
    segments is split in half so that two slots finish together: sharing so little would save less.
    """
    end = 0
    if max_unsplit < outputs <= 2 * length:
        initial: Iterator[int] = iter((outputs - outputs // 2, outputs // 2))
    else:
        initial = _startup_lengths(outputs, length, max_unsplit)
    for frames in initial:
        end += frames
        yield end
    while True:
        end += length - (first + end) % length
        yield end


def output_at(selection: Selection, position: int) -> int:
    """The number of the output frame that shows this position, or that is shown instead of it.

    Raises InvalidRequest, for the parameter `index`, if the position is not rendered.
    """
    if not selection.start <= position < selection.stop:
        detail = f"frame {position} is not rendered: the render has frames {selection.start} to {selection.stop - 1}"
        raise InvalidRequest(detail, errors=(FieldProblem(detail, "outside", parameter="index"),))
    return (position - selection.start) // selection.step


def first_output_of_segment(options: RenderOptions, selection: Selection, output: int) -> int:
    """The number of the first output frame of the segment that this one is in, at a steady rate."""
    begin = 0
    for length in _steady_lengths(options, selection):
        if begin + length > output:
            break
        begin += length
    return begin


def lead_outputs(options: RenderOptions) -> int:
    """How many output frames before a segment may be held in it."""
    return 1 if options.bins else LEAD_FRAMES


def _startup_lengths(outputs: int, length: int, max_unsplit: int) -> Iterator[int]:
    """Frames of the short segments at the beginning of a long render, so that it can be watched early."""
    short = zip(STARTUP_FRAMES, accumulate(STARTUP_FRAMES), strict=True)
    return (frames for frames, end in short if end < length and outputs >= LONG_RENDER_SEGMENTS * max_unsplit)


def _segment_seconds(options: RenderOptions) -> Fraction:
    if options.codec == "av1":
        return AV1_SECONDS
    predicted = options.codec in ("h264", "hevc")
    return SMALL_SECONDS if predicted and options.effort == "small" else SEGMENT_SECONDS


def _max_outputs(options: RenderOptions) -> int:
    return max(MAX_SOURCE_FRAMES // options.sources_per_output, 1)


async def split_into_segments(
    frames: AsyncIterator[FrameRef], bucket: str, options: RenderOptions, selection: Selection
) -> AsyncIterator[SegmentPlan]:
    """Group the selected frames, in output order, into segments.

    At a steady rate the boundaries depend only on the position (see `segment_ends`); a render paced by capture times
    also ends a segment where enough time has passed.
    """
    size = options.sources_per_output
    lead = Lead(options)
    batch: list[FrameRef] = []
    lengths = (_timed_lengths if options.timing else _steady_lengths)(options, selection)
    number, begin, ticks, length = 0, 0, 0, next(lengths)
    async for frame in frames:
        batch.append(frame)
        ticks += frame.shown_for or 0
        outputs, rest = divmod(len(batch), size)
        if not rest and (outputs >= length or (ticks and _lasts(outputs, ticks, _segment_seconds(options)))):
            yield SegmentPlan(number, begin, bucket, options, tuple(batch), lead.frames())
            lead.extend(batch)
            batch, number, begin, ticks, length = [], number + 1, begin + outputs, 0, next(lengths)
    if batch:
        yield SegmentPlan(number, begin, bucket, options, tuple(batch), lead.frames())


class Lead:
    """The frames before a segment that it may fall back on: the last ones, and of a panel of a grid that has none among
    these the last one that there was, as one output frame before them."""

    def __init__(self, options: RenderOptions) -> None:
        self._size, self._has_panels = options.sources_per_output, options.grid is not None
        self._last: deque[FrameRef] = deque(maxlen=lead_outputs(options) * self._size)
        self._of_panels: dict[int, FrameRef] = {}

    def extend(self, frames: Iterable[FrameRef]) -> None:
        for frame in frames:
            self._last.append(frame)
            if self._has_panels and frame.key is not None:
                self._of_panels[frame.panel or 0] = frame

    def frames(self) -> tuple[FrameRef, ...]:
        """In order, as many for each output frame as it is made of."""
        near = {frame.panel or 0 for frame in self._last if frame.key is not None}
        lost = {panel: frame for panel, frame in self._of_panels.items() if panel not in near}
        if not lost:
            return tuple(self._last)
        number = self._last[0].index
        earlier = (lost.get(panel) or FrameRef(number, None, panel=panel or None) for panel in range(self._size))
        return (*earlier, *self._last)


def _steady_lengths(options: RenderOptions, selection: Selection) -> Iterator[int]:
    """Output frames of each segment."""
    length, max_unsplit = frames_per_segment(options), _max_unsplit_frames(options)
    ends = segment_ends(selection.first, selection.output_count(), length, max_unsplit)
    return (end - begin for begin, end in pairwise(chain((0,), ends)))


def _timed_lengths(options: RenderOptions, selection: Selection) -> Iterator[int]:
    """The most output frames of each segment."""
    startup = _startup_lengths(selection.output_count(), frames_per_segment(options), _max_unsplit_frames(options))
    return chain(startup, repeat(min(_max_outputs(options), MAX_TIMED_FRAMES)))


def _max_unsplit_frames(options: RenderOptions) -> int:
    """The most output frames that are left to one slot while another could help."""
    return min(segment_length(options.fps), _max_outputs(options))


def _lasts(outputs: int, ticks: int, seconds: Fraction) -> bool:
    """Whether a segment of so many ticks is long enough, by the same bounds as in `segment_length`."""
    return ticks >= 8 * TICKS or (outputs >= 16 and ticks >= seconds * TICKS)


def render_key(
    dataset: DatasetFacts,
    selection: Selection,
    options: RenderOptions,
    gaps: Gaps = "none",
    beside: Sequence[tuple[DatasetFacts, Gaps]] = (),
) -> str:
    """sha256 (hex) of all that the video depends on.

    That is the dataset's bucket and content digest (keys, ETags and sizes), the positions, what the positions without a
    frame are, the options, and how many pictures are interlaced, which is measured. Of a grid, `beside` are the
    datasets of the other panels, each with what its positions without a frame are.
    """
    positions = [selection.start, selection.stop, selection.step, gaps]
    parts = [PIPELINE_VERSION, str(dataset.id), _content(dataset), positions, options.to_json()]
    parts += [[str(each.id), panel_gaps, *_content(each)] for each, panel_gaps in beside]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content(dataset: DatasetFacts) -> list[Any]:
    return [dataset.bucket, dataset.digest, dict(dataset.field_orders)]

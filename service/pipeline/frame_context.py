"""The state of one frame on its way through the stages, and the function that runs the stages on it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from av import VideoFrame

from service.pipeline.frames import (
    BinMemberReport,
    DevicePicture,
    Fallback,
    FrameMissing,
    MediaUnreadable,
    RenderFailed,
    SizeMismatch,
)
from service.pipeline.picture import ClipCounts, Picture
from service.plan.render_plan import FrameRef


class Stopwatch:
    """Sums up named spans; `seconds` maps stage -> wall seconds."""

    def __init__(self, *stages: str) -> None:
        self.seconds = dict.fromkeys(stages, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


FrameFault = Literal["missing", "corrupt"]
# Ready to encode: a frame of the output's form and size, one that stays on a GPU for an encoder there, or a JPEG that
# is copied as it is.
EncoderInput = VideoFrame | bytes | DevicePicture


@dataclass(slots=True)
class FrameContext:
    """Filled in stage by stage; `frame` is ready to encode, or `fault` and `reason` say why there is none.

    `members` are the frames of a bin, whose `ref` is the first of them; `measured` is a deep frame of one, as decoded.
    One that is `laid` is part of a bin which a device has made: the bin's picture is the `frame` of its first member.
    """

    ref: FrameRef
    data: bytes = b""
    sha256: str | None = None
    picture: Picture | None = None
    decoder: str | None = None
    frame: EncoderInput | None = None
    raw_picture: Picture | None = None
    merged_into_bin: bool = False
    clip_counts: ClipCounts | None = None
    fault: FrameFault | None = None
    reason: str | None = None
    members: tuple[BinMemberReport, ...] | None = None
    fallback: Fallback | None = None


class Stage(Protocol):
    """A passive, single-threaded step. It raises FrameMissing or Unreadable for a frame it must give up."""

    name: str

    def __call__(self, context: FrameContext) -> None: ...


def count_fallbacks(
    prepare_frame: Callable[[FrameRef], FrameContext], counts: Counter[tuple[str, str]]
) -> Callable[[FrameRef], FrameContext]:
    """Wrap `prepare_frame` so that fallbacks are counted by (stage, code)."""

    def counted(ref: FrameRef) -> FrameContext:
        context = prepare_frame(ref)
        if context.fallback is not None:
            counts[context.fallback.stage, context.fallback.code] += 1
        return context

    return counted


def run_stages(ref: FrameRef, stages: Sequence[Stage], stopwatch: Stopwatch) -> FrameContext:
    """Run the stages in order until the frame is ready or found faulty. Raises RenderFailed on a refused size."""
    work = FrameContext(ref)
    for stage in stages:
        with stopwatch.measure(stage.name):
            _run_stage(stage, work)
        if work.fault or work.merged_into_bin or work.frame is not None or work.raw_picture is not None:
            break
    work.data, work.picture = b"", None
    return work


def _run_stage(stage: Stage, context: FrameContext) -> None:
    try:
        stage(context)
    except FrameMissing as error:
        context.fault, context.reason = "missing", error.reason
    except MediaUnreadable as error:
        context.fault, context.reason = "corrupt", error.reason
    except SizeMismatch as error:
        raise RenderFailed(str(error), context.ref.index) from error

"""The state of one frame, and the function that runs the stages on it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from av import VideoFrame

from service.pipeline.frames import (
    BinMemberReport,
    DevicePicture,
    Fallback,
    FrameDamaged,
    FrameMissing,
    FrameTooLarge,
    FrameUnavailable,
    MediaUnreadable,
    ReadFailed,
    RenderFailed,
    SizeMismatch,
    media_faults,
)
from service.pipeline.memory_limit import may_have_room_when_new
from service.pipeline.picture import ClipCounts, Picture
from service.plan.render_plan import FrameRef


class Stopwatch:
    """Adds up wall time per stage; `seconds` is stage -> seconds."""

    def __init__(self, *stages: str) -> None:
        self.seconds = dict.fromkeys(stages, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            error.add_note(f"during {stage}")
            raise
        finally:
            self.seconds[stage] += time.perf_counter() - start


FrameFault = Literal["missing", "changed", "corrupt"]
FAULTS: tuple[str, ...] = get_args(FrameFault)
# What an encoder accepts: a frame in the output's pixel format and size, a picture in GPU memory (NVENC), or the bytes
# of a JPEG that is copied unchanged.
EncoderInput = VideoFrame | bytes | DevicePicture


@dataclass(slots=True)
class FrameContext:
    """The state of one frame, filled in by the stages, or of a bin of frames.

    Processing ends when one of these is set: `frame`, `raw_picture`, `merged_into_bin`, or `fault` with its `reason`.
    """

    # The frame; of a bin, its first member.
    ref: FrameRef
    # The fetched object; dropped once it is decoded.
    data: bytes = b""
    sha256: str | None = None
    picture: Picture | None = None
    decoder: str | None = None
    # Ready to encode.
    frame: EncoderInput | None = None
    # A bin member before its tone: the bin is averaged first.
    raw_picture: Picture | None = None
    # The GPU has already folded this frame into its bin, whose image is the `frame` of the bin's first member.
    merged_into_bin: bool = False
    clip_counts: ClipCounts | None = None
    fault: FrameFault | None = None
    # Why the frame is faulty or was reshaped.
    reason: str | None = None
    # Another attempt may find the frame without the fault.
    transient: bool = False
    members: tuple[BinMemberReport, ...] | None = None
    fallback: Fallback | None = None
    # What was done to the stored samples so that they show what was meant, in words.
    conversions: tuple[str, ...] = ()

    def set_picture(self, picture: Picture) -> None:
        """Take over the decoded picture, and what is reported of it."""
        self.picture, self.decoder = picture, picture.decoder
        self.conversions += picture.conversions

    @property
    def is_finished(self) -> bool:
        """Whether no further stage has to run."""
        return bool(self.fault) or self.merged_into_bin or self.frame is not None or self.raw_picture is not None


class Stage(Protocol):
    """One step of a frame, single-threaded.

    Raises FrameUnavailable, MediaUnreadable or SizeMismatch to give a frame up.
    """

    name: str

    def __call__(self, context: FrameContext) -> None: ...


class MediaStage:
    """A stage that works on the bytes of one frame: what it raises unexpectedly is a fault of that frame.

    `verb` says what could not be done. What other stages raise unexpectedly, such as those of a GPU, ends the segment.
    """

    verb: str


def ignore(_value: int | str) -> None:
    """For nobody who watches."""


@dataclass(frozen=True, slots=True)
class FrameWatch:
    """Whoever watches the rendering of a segment; both functions may raise to stop it.

    `report_progress` is called with the number of planned output frames that are finished, `begin` with the `item` of
    each source frame that is begun. A frame that ended the process before, again and again, is `barred`, item -> why:
    it is corrupt without being touched.
    """

    report_progress: Callable[[int], None] = ignore
    begin: Callable[[str], None] = ignore
    barred: Mapping[str, str] = field(default_factory=dict)

    def guard(self, run_frame: Callable[[FrameRef], FrameContext]) -> Callable[[FrameRef], FrameContext]:
        """`run_frame`, but for barred frames."""

        def run_unless_barred(ref: FrameRef) -> FrameContext:
            reason = self.barred.get(ref.item)
            if reason is not None:
                return FrameContext(ref, fault="corrupt", reason=reason, transient=True)
            self.begin(ref.item)
            return run_frame(ref)

        return run_unless_barred


class FrameTally:
    """What the source frames of a segment went through: `fallbacks` by (stage, code), and if one is `transient`."""

    def __init__(self) -> None:
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        self.transient = False

    def watch(self, prepare_frame: Callable[[FrameRef], FrameContext]) -> Callable[[FrameRef], FrameContext]:
        """`prepare_frame`, whose results are counted: also lead frames, which no report names."""

        def prepare_and_count(ref: FrameRef) -> FrameContext:
            context = prepare_frame(ref)
            self.transient |= context.transient
            if context.fallback is not None:
                self.fallbacks[context.fallback.stage, context.fallback.code] += 1
            return context

        return prepare_and_count


OUT_OF_MEMORY = "that takes more memory than a slot may use (REELMILL_SLOT_MEMORY_MB)"


def run_stages(ref: FrameRef, stages: Sequence[Stage], stopwatch: Stopwatch) -> FrameContext:
    """Run the stages in order until the frame is finished. Raises RenderFailed if its size does not match, MemoryError
    if a new process may have the memory that this one lacks."""
    context = FrameContext(ref)
    for stage in stages:
        with stopwatch.measure(stage.name):
            try:
                with media_faults(stage.verb) if isinstance(stage, MediaStage) else nullcontext():
                    stage(context)
            except FrameUnavailable as error:
                context.fault = "missing" if isinstance(error, FrameMissing) else "changed"
                context.reason = error.reason
                context.transient |= ref.key is not None
            except MediaUnreadable as error:
                context.fault, context.reason = "corrupt", error.reason
                context.transient |= isinstance(error, FrameDamaged | FrameTooLarge)
            except SizeMismatch as error:
                raise RenderFailed(str(error), ref.index) from error
            except MemoryError:
                if not isinstance(stage, MediaStage) or may_have_room_when_new():
                    raise
                context.fault, context.reason = "corrupt", f"it cannot be {stage.verb}: {OUT_OF_MEMORY}"
                context.transient = True  # a slot with more memory may show it
            except ReadFailed as failed:
                raise failed.error from None
        if context.is_finished:
            break
    context.data, context.picture = b"", None
    return context

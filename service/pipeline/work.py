"""One planned frame on its way through the stages, and how the ordered list of stages is run over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from av import VideoFrame

from service.pipeline.cuda.driver import DevicePicture
from service.pipeline.frames import Fallback, FrameMissing, MemberReport, RenderFailed, Unreadable
from service.pipeline.geometry import SizeRefused
from service.pipeline.picture import Picture
from service.pipeline.stopwatch import Stopwatch
from service.pipeline.window import Clipped
from service.plan.render_plan import FrameRef

Fault = Literal["missing", "corrupt"]
Ready = VideoFrame | bytes | DevicePicture
"""Ready to encode: a frame of the output's form and size, one that stays on a GPU for an encoder there, or a JPEG that
is copied as it is."""


@dataclass(slots=True)
class Work:
    """Filled in stage by stage; `frame` is ready to encode, or `fault` and `reason` say why there is none.

    `members` are the frames of a bin, whose `ref` is the first of them; `measured` is a deep frame of one, as decoded.
    One that is `laid` is part of a bin which a device has made: the bin's picture is the `frame` of its first member.
    """

    ref: FrameRef
    data: bytes = b""
    sha256: str | None = None
    picture: Picture | None = None
    decoder: str | None = None
    frame: Ready | None = None
    measured: Picture | None = None
    laid: bool = False
    clipped: Clipped | None = None
    fault: Fault | None = None
    reason: str | None = None
    members: tuple[MemberReport, ...] | None = None
    fallback: Fallback | None = None


class Stage(Protocol):
    """A passive, single-threaded step. It raises FrameMissing or Unreadable for a frame it must give up."""

    name: str

    def __call__(self, work: Work) -> None: ...


def prepare(ref: FrameRef, stages: Sequence[Stage], watch: Stopwatch) -> Work:
    """Run the stages in order until the frame is ready or found faulty. Raises RenderFailed on a refused size."""
    work = Work(ref)
    for stage in stages:
        with watch.time(stage.name):
            _run(stage, work)
        if work.fault or work.laid or work.frame is not None or work.measured is not None:
            break
    work.data, work.picture = b"", None
    return work


def _run(stage: Stage, work: Work) -> None:
    try:
        stage(work)
    except FrameMissing as error:
        work.fault, work.reason = "missing", error.reason
    except Unreadable as error:
        work.fault, work.reason = "corrupt", error.reason
    except SizeRefused as error:
        raise RenderFailed(str(error), work.ref.index) from error

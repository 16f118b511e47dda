"""The interface of the pipeline: readers of source bytes, errors of a frame, and the result of a segment."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol, cast

from service.errors import Interruption
from service.plan.render_plan import FrameOutcome, FrameRef

log = logging.getLogger("pipeline")
MAX_REASON_LENGTH = 200

FallbackStage = Literal["decode", "transform", "encode"]
FallbackCode = Literal[
    "no_device", "device_failed", "out_of_memory", "not_decoded", "enlarged", "mirrored", "unsupported"
]


class MediaUnreadable(Exception):
    """These bytes cannot be shown as a picture; `reason` goes into the receipt."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FrameUnreadable(MediaUnreadable):
    """A frame's object exists but cannot be used. Handled by the `corrupt` policy."""


class FrameDamaged(FrameUnreadable):
    """The store sends bytes that are not those of the object. Another attempt may get the right ones."""


class FrameTooLarge(MediaUnreadable):
    """Working on a frame takes more memory than this process may use. One with more memory may show it."""


class FrameUnavailable(Exception):
    """A frame's object is not the one that was planned; `reason` goes into the receipt."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FrameMissing(FrameUnavailable):
    """A frame's object does not exist, or the frame is a gap in the numbering. Handled by the `missing` policy."""

    def __init__(self, reason: str = "the object does not exist") -> None:
        super().__init__(reason)


class FrameChanged(FrameUnavailable):
    """A frame's object is another one than the scan found. Handled by the `changed` policy."""

    def __init__(self, difference: str) -> None:
        advice = "scan the dataset again, then ask for a new render"
        super().__init__(f"the frame changed since the scan: {advice} ({difference})")


class RenderFailed(Exception):
    """A frame cannot be shown and its policy is `fail`. `frame_index` is its position in the dataset."""

    def __init__(self, reason: str, frame_index: int) -> None:
        super().__init__(f"frame {frame_index}: {reason}")
        self.reason = reason
        self.frame_index = frame_index


class SizeMismatch(Exception):
    """A picture's shape differs from the output's, and the policy for that is `fail`."""


@contextmanager
def media_faults(verb: str) -> Iterator[None]:
    """Where the bytes of one frame are worked on: MediaUnreadable instead of any exception that nobody expected.

    `verb` says what could not be done, such as "decoded". The exception is logged with its traceback, because it may be
    a fault of this program. Interruptions and a full memory are not the frame's fault, and pass.
    """
    try:
        yield
    except (FrameUnavailable, MediaUnreadable, RenderFailed, SizeMismatch, Interruption, MemoryError):
        raise
    except Exception as error:
        log.exception("a frame could not be %s", verb)
        text = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON_LENGTH]
        raise MediaUnreadable(f"it cannot be {verb} ({text})") from error


class ReadFailed(Interruption):
    """Reading a source raised `error`, of a class that only the reader knows; `run_stages` raises that one."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except (FrameUnavailable, MediaUnreadable, Interruption):
        raise
    except Exception as error:
        raise ReadFailed(error) from error


class _WatchedFile:
    """A file whose errors of reading are ReadFailed, so that they are not taken for a fault of what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        with _read_errors():
            return self._file.read(size)


def open_watched(sources: "SourceReader", ref: FrameRef) -> BinaryIO:
    """Open a source for a MediaStage.

    Raises FrameUnavailable, FrameUnreadable, ReadFailed; so does reading the file.
    """
    with _read_errors():
        return cast(BinaryIO, _WatchedFile(sources.open(ref)))


class FrameReader(Protocol):
    """Reads image frames: called at most once per frame, in plan order; lead frames only if `hold` needs them."""

    def read(self, ref: FrameRef) -> bytes:
        """Read the whole object. Raises FrameMissing, FrameChanged, FrameUnreadable."""
        ...


class SourceReader(Protocol):
    """Opens source videos and multi-page TIFFs as seekable files over ranged reads."""

    def open(self, ref: FrameRef) -> BinaryIO:
        """Open a seekable binary file; the pipeline closes it. Raises FrameMissing, FrameChanged, FrameUnreadable."""
        ...


@dataclass(frozen=True, slots=True)
class Fallback:
    """One stage of a frame that was planned for a GPU but ran on the CPU; `code` is counted, `reason` is for people."""

    stage: FallbackStage
    code: FallbackCode
    reason: str


@dataclass(frozen=True, slots=True)
class BinMemberReport:
    """One source frame of a bin; `missing`, `changed` and `corrupt` ones were left out. `source` is its index in the
    dataset."""

    source: int
    key: str | None
    sha256: str | None
    decoder: str | None
    outcome: Literal["ok", "resized", "missing", "changed", "corrupt"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class FrameReport:
    """The outcome of one planned output frame. `dataclasses.asdict` of it is JSON and goes into the receipt."""

    # Position in the segment; None if skipped.
    output: int | None
    # Index in the dataset; of a bin, its first member's.
    source: int
    key: str | None
    # Of the fetched bytes, in hex; None for frames of a video.
    sha256: str | None
    decoder: str | None
    outcome: FrameOutcome
    reason: str | None = None
    # Index in the dataset of the frame that is held in its place.
    substituted_from: int | None = None
    # Samples below the tone window, above it, and NaN; of a bin, samples of its mean or maximum.
    clipped: tuple[int, int, int] | None = None
    # The object's ETag in the catalogue.
    etag: str | None = None
    # Timestamp in the time base of the source video.
    pts: int | None = None
    members: tuple[BinMemberReport, ...] | None = None
    # Capture time (RFC 3339, UTC), if known.
    captured_at: str | None = None
    # An anomaly of the capture time that changed how long the frame is shown.
    clock: str | None = None
    # The stage that was planned for a GPU and ran on the CPU, and why.
    fallback: str | None = None
    # What was done to the stored samples so that they show what was meant, in words; of a bin, of any member.
    conversions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """One rendered segment."""

    # A fragmented MP4 whose timestamps start at 0; empty if every frame was skipped.
    data: bytes
    # Encoded frames.
    frames: int
    # One per planned output frame.
    reports: tuple[FrameReport, ...]
    # Stage (fetch, decode, transform, encode) -> wall time.
    seconds: Mapping[str, float]
    # The encoder and its version.
    encoder: str
    # File name -> the segment's part of a preview strip or keogram.
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    # (stage, code) -> source frames that fell back from a GPU to the CPU.
    fallbacks: Mapping[tuple[str, str], int] = field(default_factory=dict)
    # Another attempt may find other frames: an object that the plan names was missing, changed or damaged on its way.
    transient: bool = False


class DevicePicture(Protocol):
    """A limited-range NV12 picture of the output's size in GPU memory; sizes in pixels, even."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

"""The interface of the pipeline: ports that read source bytes, errors a frame can raise, and the reports of a
rendered segment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, Protocol

from service.plan.render_plan import FrameOutcome, FrameRef

FallbackStage = Literal["decode", "transform", "encode"]
FallbackCode = Literal[
    "no_device", "device_failed", "out_of_memory", "not_decoded", "enlarged", "mirrored", "unsupported"
]


class MediaUnreadable(Exception):
    """These bytes are not a picture this pipeline can show; `reason` says why, for the receipt."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FrameUnreadable(MediaUnreadable):
    """A frame's object is there but cannot be used. Settled by the `corrupt` policy."""


class FrameMissing(Exception):
    """A frame's object is gone, or the numbering has a hole. Settled by the `missing` policy."""

    def __init__(self, reason: str = "the object does not exist") -> None:
        super().__init__(reason)
        self.reason = reason


class RenderFailed(Exception):
    """A frame met a policy of `fail`. `frame_index` is its position in the dataset."""

    def __init__(self, reason: str, frame_index: int) -> None:
        super().__init__(f"frame {frame_index}: {reason}")
        self.reason = reason
        self.frame_index = frame_index


class FrameReader(Protocol):
    """Gives the bytes of image frames; called once per frame, in plan order, lead frames only on need."""

    def read(self, ref: FrameRef) -> bytes:
        """The whole object. Raises FrameMissing or FrameUnreadable."""
        ...


class SourceReader(Protocol):
    """Opens source videos as seekable files over ranged reads."""

    def open(self, ref: FrameRef) -> BinaryIO:
        """A seekable binary file, closed by the pipeline. Raises FrameMissing or FrameUnreadable."""
        ...


@dataclass(frozen=True, slots=True)
class Fallback:
    """A stage of one frame that was to run on a GPU and was done by the CPU: `code` for counts, `reason` for people."""

    stage: FallbackStage
    code: FallbackCode
    reason: str


@dataclass(frozen=True, slots=True)
class BinMemberReport:
    """One source frame of a bin; those that are `missing` or `corrupt` were left out of it."""

    source: int
    key: str | None
    sha256: str | None
    decoder: str | None
    outcome: Literal["ok", "resized", "missing", "corrupt"]
    reason: str | None


@dataclass(frozen=True, slots=True)
class FrameReport:
    """What became of one planned frame. `dataclasses.asdict` of it is JSON.

    `output` counts frames within the segment (None when skipped); `source` is the dataset index; `sha256` (hex) is
    of the fetched bytes, None for video pictures; `substituted_from` is the dataset index of a held picture; `clipped`
    is how many of its samples (of a bin: of its mean or maximum) lay below the tone's window, above it, or were not a
    number; `etag` is the object's as the catalogue has it, `pts` a picture's time in its video's time base.
    Of a bin, `source` is the first member's index, and `members` tell the rest.
    `captured_at` is the capture time (RFC 3339, UTC) where it is known; `clock` says what is odd about it for the pace.
    `fallback` says which stage a GPU was to do and why the CPU did it.
    """

    output: int | None
    source: int
    key: str | None
    sha256: str | None
    decoder: str | None
    outcome: FrameOutcome
    reason: str | None = None
    substituted_from: int | None = None
    clipped: tuple[int, int, int] | None = None
    etag: str | None = None
    pts: int | None = None
    members: tuple[BinMemberReport, ...] | None = None
    captured_at: str | None = None
    clock: str | None = None
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """One rendered segment.

    `data` is a fragmented MP4 whose timestamps start at 0 (empty when every frame was skipped); `frames` counts its
    pictures; `reports` has one entry per planned frame; `seconds` is wall time per stage (fetch, decode, transform,
    encode); `encoder` names the encoder and its version; `pieces` are parts of by-products, by file name; `fallbacks`
    counts the source frames that fell back from a GPU to the CPU, by (stage, code).
    """

    data: bytes
    frames: int
    reports: tuple[FrameReport, ...]
    seconds: Mapping[str, float]
    encoder: str
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    fallbacks: Mapping[tuple[str, str], int] = field(default_factory=dict)


class SizeMismatch(Exception):
    """The picture's shape differs from the output's and the policy is `fail`."""


class DevicePicture(Protocol):
    """A limited-range NV12 picture of the output's size in device memory; sizes in pixels, even."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

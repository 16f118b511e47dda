"""Everything that crosses the pipe between the supervisor and a slot process. Pickled, never stored."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from uuid import UUID

from service.plan.placement import REAL_DRIVER, GpuAllocation
from service.plan.preview import Preview
from service.plan.render_plan import RenderOptions, SegmentPlan
from service.store.settings import DatabaseSettings, ObjectSettings
from service.telemetry import logging


@dataclass(frozen=True, slots=True)
class RenderSegment:
    """Render this segment and publish it under its content key.

    `device` is the slot's share of a GPU, and `withheld` says why it is not to be used this time.
    """

    plan: SegmentPlan
    content_key: str
    gpu: GpuAllocation | None = None
    gpu_disabled_reason: str | None = None


@dataclass(frozen=True, slots=True)
class AssembleRender:
    """Join these segments (content keys in order, bytes of each) into the video of a render.

    `facts` are members of the receipt's summary that the rows know.
    """

    render_id: UUID
    options: RenderOptions
    segments: tuple[tuple[str, int], ...]
    receipt_facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScanDataset:
    """Register what lies under the dataset's prefix."""

    dataset_id: UUID


@dataclass(frozen=True, slots=True)
class RenderPreview:
    """Draw this frame small and publish it under its key."""

    preview: Preview


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Give up the command under way."""


@dataclass(frozen=True, slots=True)
class StopSlot:
    """Leave when the command under way has ended."""


Command = RenderSegment | AssembleRender | ScanDataset | RenderPreview


@dataclass(frozen=True, slots=True)
class SlotReady:
    """The slot has imported its codecs and waits for a command."""

    pid: int


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` frames of the command are finished."""

    frames_done: int


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """The segment lies in the object store under `key`, its receipt beside it."""

    key: str
    size: int
    frames: int
    encoder: str
    stage_seconds: dict[str, float]
    fetched_objects: int
    fetched_bytes: int
    # Frames that are not plain `ok`, by what became of them.
    frame_outcomes: dict[str, int]
    # Seconds of video in it, where the container tells.
    duration: Fraction | None = None
    # Source frames that a GPU was to make and the CPU made, by (stage, code).
    device_fallbacks: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncoderUnavailable:
    """The encoder that the render was planned on cannot be had: it has to be planned on another."""

    reason: str


@dataclass(frozen=True, slots=True)
class AssemblyDone:
    """The video, its poster and its receipt are published."""

    video_key: str
    size: int
    sha256: str
    frames: int
    poster_key: str
    receipt_key: str
    summary: dict[str, object]


@dataclass(frozen=True, slots=True)
class ScanDone:
    """The dataset row tells what was found. `slot_ends`: the process leaves, for what only a scan needs, the database's
    libraries above all, would stay 25 MB of it."""

    frames: int
    restart_slot: bool = True


@dataclass(frozen=True, slots=True)
class PreviewDone:
    """The preview lies in the object store."""

    size: int


@dataclass(frozen=True, slots=True)
class SegmentsMissing:
    """Cached segments that are not in the store any more: render them again."""

    content_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """It cannot be done; `retry` says that another try may succeed (a store that is away), `slot_ends` that this slot
    process is of no more use and leaves."""

    code: str
    reason: str
    retry: bool = False
    restart_slot: bool = False


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """The slot gave up as told and is free again."""


Outcome = (
    SegmentDone
    | EncoderUnavailable
    | AssemblyDone
    | ScanDone
    | PreviewDone
    | SegmentsMissing
    | TaskFailed
    | TaskCancelled
)
SlotEvent = SlotReady | Progress | Outcome


@dataclass(frozen=True, slots=True)
class SlotConfig:
    """What a slot needs to reach the shared state, and its bounds; travels to the child by pickle. `driver` is the
    module that opens a GPU, and `gpu_memory_mb` the bound of a slot that has opened one. Without a command for `idle_s`
    seconds it keeps no memory for the next one."""

    database_url: str
    database: DatabaseSettings
    objects: ObjectSettings
    home: Path
    memory_mb: int
    prefetch_mb: int
    gpu_memory_mb: int = 16384
    driver: str = REAL_DRIVER
    log_level: logging.Level = "INFO"
    idle_s: float = 30.0

"""Everything that crosses the pipe between the supervisor and a codec process. Pickled, never stored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

from service.plan.placement import REAL_DRIVER, GpuAllocation
from service.plan.preview import Preview
from service.plan.render_plan import FrameRef, ObjectRef, RenderOptions, SegmentPlan
from service.store.objects.digests import StoredSegment
from service.store.objects.keys import render_prefix, segment_prefix
from service.store.settings import ObjectSettings
from service.telemetry import logging
from service.worker.objects.grants import NOTHING, Grant
from service.worker.scan.store import ScanTarget


@dataclass(frozen=True, slots=True)
class RenderSegment:
    """Render this segment and publish it under its content key.

    `gpu` is the slot's share of a GPU; `gpu_disabled_reason` says why this attempt must not use it. `barred` are frames
    that have ended slots: item -> why. `suspects` are frames at which one slot ended: they are tried first, so that
    what comes before them is not done once more in vain.
    """

    plan: SegmentPlan
    content_key: str
    gpu: GpuAllocation | None = None
    gpu_disabled_reason: str | None = None
    barred: Mapping[str, str] = field(default_factory=dict)
    suspects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssembleRender:
    """Join these segments, in order, into the video of a render.

    `receipt_facts` are members of the receipt's summary that come from the database.
    """

    render_id: UUID
    options: RenderOptions
    segments: tuple[StoredSegment, ...]
    receipt_facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScanDataset:
    """Register the objects under the dataset's prefix. `barred` are objects that have ended slots: key -> why."""

    dataset_id: UUID
    barred: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RenderPreview:
    """Make this preview and publish it under its key. `barred` are frames that have ended slots: item -> why."""

    preview: Preview
    barred: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Stop the current command."""


@dataclass(frozen=True, slots=True)
class StopSlot:
    """Exit when the current command has ended."""


Command = RenderSegment | AssembleRender | ScanDataset | RenderPreview


def grant_for(command: Command, bucket: str) -> Grant:
    """What the command may read and write. `bucket` is the service's own. For a scan, see `grant_for_scan`:
    it knows its objects only when it has begun."""
    match command:
        case RenderSegment():
            plan, below = command.plan, ObjectRef(bucket, segment_prefix(command.content_key))
            sources = _objects_of(plan.bucket, (*plan.frames, *plan.lead))
            return Grant(read=sources, write_below=frozenset([below]), content_key=command.content_key)
        case AssembleRender():
            segments = frozenset(ObjectRef(bucket, segment_prefix(each.content_key)) for each in command.segments)
            return Grant(
                read_below=segments, write_below=frozenset([ObjectRef(bucket, render_prefix(command.render_id))])
            )
        case RenderPreview(preview=preview):
            return Grant(read=preview.objects(bucket), write=frozenset([ObjectRef(bucket, preview.key)]))
        case ScanDataset():
            return NOTHING


def grant_for_scan(target: ScanTarget) -> Grant:
    return Grant(read_below=frozenset([ObjectRef(target.bucket, target.prefix)]))


def _objects_of(bucket: str, frames: Iterable[FrameRef]) -> frozenset[ObjectRef]:
    return frozenset(ObjectRef(bucket, frame.key) for frame in frames if frame.key is not None)


@dataclass(frozen=True, slots=True)
class SlotReady:
    """The slot has imported its codecs and waits for a command. `sandbox_gaps`: what its sandbox lacks, in words."""

    pid: int
    sandbox_gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """`frames_done` frames of the command are finished."""

    frames_done: int


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """The segment, its receipt and its artifacts are stored under `content_key`: the plan's, but `transient_key` of a
    `transient` segment, of which another attempt may be different, so that nobody else finds it.

    `frame_outcomes` counts the frames that are not plain `ok`, by outcome. `duration` is in seconds as a fraction, None
    if the container does not say. `device_fallbacks` counts the frames that a GPU should have processed and the CPU
    did, by (stage, code). `digests` are the SHA-256 of the stored objects by name.
    """

    size: int
    frames: int
    encoder: str
    stage_seconds: dict[str, float]
    fetched_objects: int
    fetched_bytes: int
    frame_outcomes: dict[str, int]
    content_key: str
    transient: bool = False
    duration: str | None = None
    device_fallbacks: dict[tuple[str, str], int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncoderUnavailable:
    """The encoder that the render was planned for is not available: the render must be replanned."""

    reason: str


@dataclass(frozen=True, slots=True)
class AssemblyDone:
    """The video, its poster, its receipt and its artifacts are published.

    `etag` is that of the video's object; `digests` are the SHA-256 of the other files by name; `stored_bytes` is the
    size of all files together.
    """

    video_key: str
    size: int
    sha256: str
    frames: int
    poster_key: str
    receipt_key: str
    summary: dict[str, object]
    etag: str
    digests: dict[str, str]
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class ScanDone:
    """The scan has ended: the supervisor has updated the dataset row."""

    frames: int


@dataclass(frozen=True, slots=True)
class PreviewDone:
    """The preview is stored; `size` is in bytes. Another attempt at a `transient` one may show something else."""

    size: int
    sha256: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class SegmentsMissing:
    """These segments cannot be joined and must be rendered again.

    An object of the `damaged` ones is gone or has other bytes than were written. The cache has no entry for the
    `evicted` ones.
    """

    damaged: tuple[str, ...]
    evicted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The task failed.

    `retry`: another attempt may succeed, for example after an outage. `restart_slot`: this process must be replaced.
    `item`: the frame or object during which the process ended, if it did (see `slots.current_item`).
    """

    code: str
    reason: str
    retry: bool = False
    restart_slot: bool = False
    item: str = ""


@dataclass(frozen=True, slots=True)
class TaskCancelled:
    """The slot stopped the command as asked, and is free again."""


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


@dataclass(frozen=True, slots=True)
class StoreCall:
    """Call this method of the scan's store in the supervisor; the slot waits for a StoreReply."""

    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class StoreReply:
    """What the method returned; `error` says that it failed instead."""

    value: Any = None
    error: str | None = None


SlotEvent = SlotReady | Progress | StoreCall | Outcome
SLOT_EVENTS: tuple[type, ...] = get_args(SlotEvent)


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """The limits of a codec process. It holds no address or secret of anything.

    `bucket` is the service's own. `driver` is the module that opens a GPU; `gpu_memory_mb` is the memory limit of a
    process that has opened one. After `idle_s` seconds without a command it returns its free memory to the kernel.
    `scratch` is the folder of its working files. `confined`: it shuts itself in (see `worker.sandbox`).
    """

    memory_mb: int
    prefetch_mb: int
    bucket: str = "reelmill"
    gpu_memory_mb: int = 16384
    driver: str = REAL_DRIVER
    log_level: logging.Level = "INFO"
    idle_s: float = 30.0
    scratch: Path | None = None
    confined: bool = True


@dataclass(frozen=True, slots=True)
class SlotConfig:
    """The object store, which only the object process of a slot is told, and the limits of its codec process."""

    objects: ObjectSettings
    home: Path
    codec: CodecConfig

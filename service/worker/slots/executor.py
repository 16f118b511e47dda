"""Executes the commands of a codec process. Codecs are imported here and not in child.py."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, assert_never

from service.pipeline.cuda.errors import DeviceLost, EncoderLost
from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import FrameDamaged, FrameMissing, FrameUnavailable, MediaUnreadable, RenderFailed
from service.pipeline.memory_limit import mark_used, may_have_room_when_new
from service.pipeline.segment import render_segment
from service.plan.placement import GpuAllocation
from service.plan.render_plan import ObjectRef, SegmentPlan
from service.store.catalog.scanned import ScannedFrame
from service.store.objects.digests import sha256_hex, transient_key
from service.store.objects.keys import SEGMENT_RECEIPT, SEGMENT_VIDEO, artifact_key
from service.store.objects.object_store import ClockSkewed, ObjectStoreError, ObjectStoreFull
from service.stream.fragments import MalformedMp4, segment_duration
from service.worker.fetch.frame_fetcher import FrameFetcher
from service.worker.memory import raise_memory_limit
from service.worker.objects.client import ObjectClient, ObjectProcessGone, RemoteObjectStore, RemoteReader
from service.worker.scan.dataset import scan_objects
from service.worker.scan.store import ScanResult, ScanSummary, ScanTarget
from service.worker.scan.watch import ObjectWatch
from service.worker.slots.assembly import FILE_MEDIA_TYPES, assemble_render
from service.worker.slots.messages import (
    AssembleRender,
    CodecConfig,
    Command,
    EncoderUnavailable,
    Outcome,
    RenderPreview,
    RenderSegment,
    ScanDataset,
    ScanDone,
    SegmentDone,
    TaskFailed,
)
from service.worker.slots.previews import PreviewRenderer


class SlotGpu:
    """The slot's GPU, opened by the first command that uses it."""

    def __init__(self, driver_module: str, before_open: Callable[[], None]) -> None:
        """`before_open` is called before the libraries of a GPU are loaded."""
        self._driver_module, self._before_open = driver_module, before_open
        self._allocation: GpuAllocation | None = None
        self._device: SlotDevice | None = None

    @property
    def is_open(self) -> bool:
        return self._device is not None

    def get_device(self, allocation: GpuAllocation | None, disabled_reason: str | None) -> SlotDevice | None:
        """None for a slot without a GPU. A disabled device is not opened, and gives the reason when it is used."""
        if allocation is None:
            return None
        if disabled_reason is not None:
            return SlotDevice(DeviceConfig(allocation.device), disabled_reason=disabled_reason)
        if self._device is None or allocation != self._allocation:
            self.close()
            config = DeviceConfig(allocation.device, allocation.memory, self._driver_module)
            self._allocation, self._device = allocation, SlotDevice(config, self._before_open)
        return self._device

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
        self._allocation = self._device = None


ProgressCallback = Callable[[int], None]


class SupervisorLink(Protocol):
    """Reports the number of finished frames and what is being worked on, and calls the store of a scan. The reports and
    calls may raise to cancel the command."""

    def __call__(self, frames_done: int, /) -> None: ...

    def begin(self, item: str) -> None: ...

    def call_store(self, method: str, *arguments: Any) -> Any: ...


class SupervisorStore:
    """A scan's store in the supervisor; see ScanStore. The slot does nothing else while it waits."""

    def __init__(self, supervisor: SupervisorLink) -> None:
        self._call = supervisor.call_store

    async def begin(self) -> ScanTarget | None:
        result: ScanTarget | None = self._call("begin")
        return result

    async def advance(self, examined: int) -> None:
        self._call("advance", examined)

    async def reuse(self, objects: Sequence[tuple[str, str, int]]) -> Sequence[str]:
        keys: Sequence[str] = self._call("reuse", tuple(objects))
        return keys

    async def stage(self, rows: Sequence[ScannedFrame]) -> None:
        self._call("stage", tuple(rows))

    async def sample(self, count: int) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self._call("sample", count)
        return result

    async def finish_frames(self, result: ScanResult) -> ScanSummary:
        summary: ScanSummary = self._call("finish_frames", result)
        return summary

    async def finish_videos(self, rows: Sequence[dict[str, Any]], result: ScanResult) -> ScanSummary:
        summary: ScanSummary = self._call("finish_videos", tuple(rows), result)
        return summary


class SlotExecutor:
    """Executes commands; keeps the connections of the slot open between them."""

    def __init__(self, config: CodecConfig, runner: asyncio.Runner, client: ObjectClient) -> None:
        self._config, self._runner, self._client = config, runner, client
        self._objects = RemoteObjectStore(client, config.bucket)
        self._fetcher = FrameFetcher(RemoteReader(client))
        self._gpu = SlotGpu(config.driver, lambda: raise_memory_limit(config.gpu_memory_mb))

    def execute(self, command: Command, supervisor: SupervisorLink) -> Outcome:
        """Execute one command. Expected failures are outcomes; `supervisor` may raise to cancel the command."""
        try:
            return self._execute(command, supervisor)
        except RenderFailed as failure:
            return TaskFailed("frame_policy", str(failure))
        except FrameMissing as missing:
            return TaskFailed("missing", missing.reason)
        except FrameUnavailable as change:
            return TaskFailed("changed", change.reason)
        except MediaUnreadable as damage:
            return TaskFailed("damaged" if isinstance(damage, FrameDamaged) else "unreadable", damage.reason)
        except ObjectStoreError as error:
            restart_slot = isinstance(error, ObjectProcessGone)
            return TaskFailed(_store_failure_code(error), str(error), retry=True, restart_slot=restart_slot)
        except EncoderLost as lost:
            return EncoderUnavailable(lost.reason)
        except DeviceLost as lost:
            return TaskFailed("device_lost", lost.reason, retry=True, restart_slot=True)
        except MemoryError as error:
            return _out_of_memory(error)
        finally:
            mark_used()

    def _execute(self, command: Command, supervisor: SupervisorLink) -> Outcome:
        match command:
            case RenderSegment():
                return self._render_segment(command, supervisor)
            case AssembleRender():
                return assemble_render(command, self._objects, self._runner, supervisor)
            case ScanDataset():
                return self._runner.run(self._scan_dataset(command, supervisor))
            case RenderPreview():
                return self._render_preview(command, supervisor)
            case _:
                assert_never(command)

    def _render_segment(self, command: RenderSegment, supervisor: SupervisorLink) -> Outcome:
        plan, stats = command.plan, self._fetcher.stats
        objects_before, bytes_before = stats.objects, stats.bytes
        with self._fetcher.prefetch(plan.bucket, plan.frames_to_read(), self._config.prefetch_mb << 20) as reader:
            device = self._gpu.get_device(command.gpu, command.gpu_disabled_reason)
            sources = self._fetcher.source_opener(plan.bucket)
            report_progress = self._require_objects_before(supervisor)
            watch = FrameWatch(report_progress, supervisor.begin, command.barred)
            for suspect in suspected_frames(command):
                render_segment(
                    suspect, reader, sources, replace(watch, report_progress=lambda _: supervisor(0)), device
                )
            result = render_segment(plan, reader, sources, watch, device)
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in result.reports)
        files = {SEGMENT_RECEIPT: lines.encode(), **result.artifacts, SEGMENT_VIDEO: result.data}
        digests = {name: sha256_hex(data) for name, data in files.items()}
        content_key = command.content_key
        if result.transient:
            content_key = transient_key(content_key, digests)
            self._objects.add_transient(digests)
        self._runner.run(self._publish_segment(content_key, files))
        return SegmentDone(
            size=len(result.data),
            frames=result.frames,
            encoder=result.encoder,
            stage_seconds=dict(result.seconds),
            fetched_objects=stats.objects - objects_before,
            fetched_bytes=stats.bytes - bytes_before,
            frame_outcomes=dict(Counter(entry.outcome for entry in result.reports if entry.outcome != "ok")),
            content_key=content_key,
            transient=result.transient,
            duration=_duration_or_none(result.data),
            device_fallbacks=dict(result.fallbacks),
            digests=digests,
        )

    def _require_objects_before(self, report_progress: ProgressCallback) -> ProgressCallback:
        """The same, but it raises ObjectProcessGone as soon as the segment could not be published."""

        def check_and_report(frames_done: int) -> None:
            self._client.require_alive()
            report_progress(frames_done)

        return check_and_report

    async def _publish_segment(self, content_key: str, files: Mapping[str, bytes]) -> None:
        """Write the files in order. The video comes last: when it is there, so are the receipt and the artifacts."""
        for name, data in files.items():
            ref = ObjectRef(self._objects.bucket, artifact_key(content_key, name))
            media_type = "video/mp4" if name == SEGMENT_VIDEO else FILE_MEDIA_TYPES[Path(ref.key).suffix]
            await self._objects.put(ref, data, media_type)

    async def _scan_dataset(self, command: ScanDataset, supervisor: SupervisorLink) -> Outcome:
        watch = ObjectWatch(supervisor.begin, command.barred)
        summary = await scan_objects(SupervisorStore(supervisor), self._objects, supervisor, watch)
        return ScanDone(summary.frame_count)

    def _render_preview(self, command: RenderPreview, supervisor: SupervisorLink) -> Outcome:
        report_progress = self._require_objects_before(supervisor)
        watch = FrameWatch(report_progress, supervisor.begin, command.barred)
        return PreviewRenderer(self._fetcher, self._config.prefetch_mb << 20, watch).render(
            command.preview, self._objects, self._runner
        )

    def close(self) -> None:
        self._gpu.close()
        self._fetcher.close()


def suspected_frames(command: RenderSegment) -> Iterator[SegmentPlan]:
    """Each suspect as a segment of its own. Where it shows no fault, it was chance."""
    for frame in (*command.plan.lead, *command.plan.frames):
        if frame.item in command.suspects:
            yield replace(command.plan, frames=(frame,), lead=())


def _duration_or_none(segment: bytes) -> str | None:
    """Duration in seconds as a fraction; None for a container other than fragmented MP4."""
    try:
        return str(segment_duration(segment)) if segment else "0"
    except MalformedMp4:
        return None


def _out_of_memory(error: MemoryError) -> TaskFailed:
    """What this process has kept of earlier commands, or has been denied, a new one may have."""
    again = may_have_room_when_new()
    reason = str(error) or "the slot exceeded its memory limit (REELMILL_SLOT_MEMORY_MB)"
    return TaskFailed("out_of_memory", reason, retry=again, restart_slot=again)


def _store_failure_code(error: ObjectStoreError) -> str:
    match error:
        case ObjectStoreFull():
            return "store_full"
        case ClockSkewed():
            return "clock_skewed"
    return "store_unavailable"

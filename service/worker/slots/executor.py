"""Executes the commands of a slot process. Codecs are imported here and not in child.py."""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import assert_never

from service.ids import DatasetId
from service.pipeline.cuda.errors import DeviceLost, EncoderLost
from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.pipeline.frames import FrameMissing, MediaUnreadable, RenderFailed
from service.pipeline.segment import render_segment
from service.pipeline.stills.preview import PreviewOptions, image_preview, video_preview
from service.plan.formats import ARTIFACT_FILES
from service.plan.placement import GpuAllocation
from service.plan.preview import Preview
from service.plan.render_plan import ObjectRef, RenderOptions
from service.store.objects.drivers import open_object_store
from service.store.objects.keys import artifact_key, receipt_key, segment_key
from service.store.objects.object_store import ObjectNotFound, ObjectStore, ObjectStoreError
from service.stream.fragments import MalformedMp4, segment_duration
from service.worker.fetch.frame_fetcher import FrameFetcher
from service.worker.slots.assembly import assemble_render
from service.worker.slots.memory import raise_memory_limit
from service.worker.slots.messages import (
    AssembleRender,
    Command,
    EncoderUnavailable,
    Outcome,
    PreviewDone,
    RenderPreview,
    RenderSegment,
    ScanDataset,
    ScanDone,
    SegmentDone,
    SegmentsMissing,
    SlotConfig,
    TaskFailed,
)


class SlotGpu:
    """Opens lazily; `about_to_open` is called before the libraries of the first one are loaded."""

    def __init__(self, driver_module: str, before_open: Callable[[], None]) -> None:
        self._module, self._about_to_open = driver_module, before_open
        self._share: GpuAllocation | None = None
        self._device: SlotDevice | None = None

    @property
    def is_open(self) -> bool:
        return self._device is not None

    def get_device(self, allocation: GpuAllocation | None, disabled_reason: str | None) -> SlotDevice | None:
        """None for a slot without a GPU; a withheld device says why when it is asked for."""
        if allocation is None:
            return None
        if disabled_reason is not None:
            return SlotDevice(DeviceConfig(allocation.device), disabled_reason=disabled_reason)
        if self._device is None or allocation != self._share:
            self.close()
            choice = DeviceConfig(allocation.device, allocation.memory, self._module)
            self._share, self._device = allocation, SlotDevice(choice, self._about_to_open)
        return self._device

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
        self._share = self._device = None


ProgressCallback = Callable[[int], None]
ARTIFACT_MEDIA_TYPES = {".ndjson": "application/x-ndjson", ".jpg": "image/jpeg", ".png": "image/png"}


def _duration_or_none(segment: bytes) -> Fraction | None:
    """Seconds of video; None where the container is no fragmented MP4."""
    try:
        return segment_duration(segment) if segment else Fraction(0)
    except MalformedMp4:
        return None


class SlotExecutor:
    """A slot's open connections, and its commands."""

    def __init__(self, config: SlotConfig, runner: asyncio.Runner) -> None:
        self._config, self._runner = config, runner
        self._objects: ObjectStore = open_object_store(config.objects, config.home)
        self._fetcher = FrameFetcher(config.objects, config.home)
        self._scratch = Path(tempfile.gettempdir())
        self._gpus = SlotGpu(config.driver, lambda: raise_memory_limit(config.gpu_memory_mb))

    def execute(self, command: Command, on_progress: ProgressCallback) -> Outcome:
        """One command to its end; a store that is away is an outcome, not an exception."""
        try:
            match command:
                case RenderSegment():
                    return self._render_segment(command, on_progress)
                case AssembleRender():
                    return self._assemble_render(command, on_progress)
                case ScanDataset():
                    return self._scan_dataset(command, on_progress)
                case RenderPreview():
                    return self._render_preview(command.preview)
                case _:
                    assert_never(command)
        except RenderFailed as failure:
            return TaskFailed("frame_policy", str(failure))
        except FrameMissing as missing:
            return TaskFailed("missing", missing.reason)
        except MediaUnreadable as damage:
            return TaskFailed("unreadable", damage.reason)
        except ObjectStoreError as error:
            return TaskFailed("store_unavailable", str(error), retry=True)
        except EncoderLost as lost:
            return EncoderUnavailable(lost.reason)
        except DeviceLost as lost:
            return TaskFailed("device_lost", lost.reason, retry=True, restart_slot=True)

    def _render_segment(self, command: RenderSegment, on_progress: ProgressCallback) -> Outcome:
        plan = command.plan
        before = (self._fetcher.objects, self._fetcher.bytes)
        with self._fetcher.prefetch(plan.bucket, plan.frames, self._config.prefetch_mb << 20) as reader:
            device = self._gpus.get_device(command.gpu, command.gpu_disabled_reason)
            result = render_segment(plan, reader, self._fetcher.source_opener(plan.bucket), on_progress, device)
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in result.reports)
        ref = ObjectRef(self._objects.bucket, segment_key(command.content_key))
        beside = {receipt_key(command.content_key): lines.encode()}
        beside |= {artifact_key(command.content_key, name): data for name, data in result.artifacts.items()}
        self._runner.run(self._publish_segment(ref, result.data, beside))
        return SegmentDone(
            ref.key,
            len(result.data),
            result.frames,
            result.encoder,
            dict(result.seconds),
            self._fetcher.objects - before[0],
            self._fetcher.bytes - before[1],
            dict(Counter(entry.outcome for entry in result.reports if entry.outcome != "ok")),
            _duration_or_none(result.data),
            dict(result.fallbacks),
        )

    async def _publish_segment(self, ref: ObjectRef, data: bytes, artifacts: Mapping[str, bytes]) -> None:
        """Receipt and pieces first: a segment that can be seen has them."""
        for key, content in artifacts.items():
            await self._objects.put(ObjectRef(ref.bucket, key), content, ARTIFACT_MEDIA_TYPES[Path(key).suffix])
        await self._objects.put(ref, data, "video/mp4")

    def _assemble_render(self, command: AssembleRender, on_progress: ProgressCallback) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="reelmill-", dir=self._scratch) as folder:
            try:
                return assemble_render(command, self._objects, self._runner, (Path(folder), on_progress))
            except ObjectNotFound:
                missing = self._runner.run(self._find_missing_segments(command))
                if missing:
                    return SegmentsMissing(missing)
                raise

    async def _find_missing_segments(self, command: AssembleRender) -> tuple[str, ...]:
        return tuple([key for key, _ in command.segments if not await self._is_complete(key, command.options)])

    async def _is_complete(self, content_key: str, options: RenderOptions) -> bool:
        """Whether a segment, its receipt and its pieces are all there; one without pictures has no pieces."""
        bucket = self._objects.bucket
        pieces = [artifact_key(content_key, ARTIFACT_FILES[output]) for output in options.outputs]
        try:
            size = (await self._objects.head(ObjectRef(bucket, segment_key(content_key)))).size
            for name in (receipt_key(content_key), *(pieces if size else ())):
                await self._objects.head(ObjectRef(bucket, name))
        except ObjectNotFound:
            return False
        return True

    def _scan_dataset(self, command: ScanDataset, on_progress: ProgressCallback) -> Outcome:
        return self._runner.run(self._run_scan(command, on_progress))

    async def _run_scan(self, command: ScanDataset, on_progress: ProgressCallback) -> Outcome:
        from service.store.database import Database  # 28 MB that a slot which only renders does not carry
        from service.worker.scan.dataset import scan_dataset

        database = Database(self._config.database_url, self._config.database)
        try:
            summary = await scan_dataset(database, self._objects, DatasetId(command.dataset_id), on_progress)
            return ScanDone(summary.frame_count, restart_slot=not self._gpus.is_open)  # a context takes longer
        finally:
            await database.close()

    def _render_preview(self, preview: Preview) -> Outcome:
        sources = self._fetcher.source_opener(preview.bucket)
        options = PreviewOptions(preview.width, preview.max_pixels, preview.tone)
        if preview.kind == "video":
            data = video_preview(preview.frame, sources, options)
        else:
            with self._fetcher.prefetch(preview.bucket, [preview.frame]) as reader:
                data = image_preview(preview.frame, reader, sources, options)
        ref = ObjectRef(self._objects.bucket, preview.key)
        self._runner.run(self._objects.put(ref, data, "image/jpeg"))
        return PreviewDone(len(data))

    def close(self) -> None:
        self._gpus.close()
        self._fetcher.close()
        self._runner.run(self._objects.close())

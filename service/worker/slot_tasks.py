"""What a slot does for each command. Codecs are imported here and nowhere above."""

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
from service.pipeline.cuda.faults import DeviceLost, EncoderLost
from service.pipeline.frames import FrameMissing, RenderFailed, Unreadable
from service.pipeline.preview import image_preview, video_preview
from service.pipeline.segment import render_segment
from service.plan.formats import ARTIFACT_FILES
from service.plan.preview import Preview
from service.plan.render_plan import ObjectRef, RenderOptions
from service.store.object_settings import open_store
from service.store.objects import ObjectMissing, ObjectStore, ObjectStoreError
from service.store.segment_keys import piece_key, receipt_key, segment_key
from service.stream.boxes import BrokenFile
from service.stream.fragments import duration
from service.worker.assemble import assemble_render
from service.worker.frame_fetch import FrameFetcher
from service.worker.messages import (
    AssembleRender,
    Command,
    EncoderGone,
    MakePreview,
    Outcome,
    PreviewDone,
    RenderSegment,
    ScanDataset,
    ScanDone,
    SegmentDone,
    SegmentsMissing,
    TaskFailed,
)
from service.worker.slot import SlotConfig
from service.worker.slot_gpus import SlotGpus
from service.worker.slot_memory import allow_memory

Report = Callable[[int], None]
TYPES = {".ndjson": "application/x-ndjson", ".jpg": "image/jpeg", ".png": "image/png"}


def _duration(segment: bytes) -> Fraction | None:
    """Seconds of video; None where the container is no fragmented MP4."""
    try:
        return duration(segment) if segment else Fraction(0)
    except BrokenFile:
        return None


class SlotTasks:
    """A slot's open connections, and its commands."""

    def __init__(self, config: SlotConfig, runner: asyncio.Runner) -> None:
        self._config, self._runner = config, runner
        self._objects: ObjectStore = open_store(config.objects, config.home)
        self._fetcher = FrameFetcher(config.objects, config.home)
        self._scratch = Path(tempfile.gettempdir())
        self._gpus = SlotGpus(config.driver, lambda: allow_memory(config.gpu_memory_mb))

    def do(self, command: Command, report: Report) -> Outcome:
        """One command to its end; a store that is away is an outcome, not an exception."""
        try:
            match command:
                case RenderSegment():
                    return self._segment(command, report)
                case AssembleRender():
                    return self._assemble(command, report)
                case ScanDataset():
                    return self._scan(command, report)
                case MakePreview():
                    return self._preview(command.preview)
                case _:
                    assert_never(command)
        except RenderFailed as failure:
            return TaskFailed("frame_policy", str(failure))
        except FrameMissing as missing:
            return TaskFailed("missing", missing.reason)
        except Unreadable as damage:
            return TaskFailed("unreadable", damage.reason)
        except ObjectStoreError as error:
            return TaskFailed("store_unavailable", str(error), retry=True)
        except EncoderLost as lost:
            return EncoderGone(lost.reason)
        except DeviceLost as lost:
            return TaskFailed("device_lost", lost.reason, retry=True, slot_ends=True)

    def _segment(self, command: RenderSegment, report: Report) -> Outcome:
        plan = command.plan
        before = (self._fetcher.objects, self._fetcher.bytes)
        with self._fetcher.prefetch(plan.bucket, plan.frames, self._config.prefetch_mb << 20) as reader:
            device = self._gpus.of(command.device, command.withheld)
            result = render_segment(plan, reader, self._fetcher.sources(plan.bucket), report, device)
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in result.reports)
        ref = ObjectRef(self._objects.bucket, segment_key(command.content_key))
        beside = {receipt_key(command.content_key): lines.encode()}
        beside |= {piece_key(command.content_key, name): data for name, data in result.pieces.items()}
        self._runner.run(self._publish(ref, result.data, beside))
        return SegmentDone(
            ref.key,
            len(result.data),
            result.frames,
            result.encoder,
            dict(result.seconds),
            self._fetcher.objects - before[0],
            self._fetcher.bytes - before[1],
            dict(Counter(entry.outcome for entry in result.reports if entry.outcome != "ok")),
            _duration(result.data),
            dict(result.fallbacks),
        )

    async def _publish(self, ref: ObjectRef, data: bytes, beside: Mapping[str, bytes]) -> None:
        """Receipt and pieces first: a segment that can be seen has them."""
        for key, content in beside.items():
            await self._objects.put(ObjectRef(ref.bucket, key), content, TYPES[Path(key).suffix])
        await self._objects.put(ref, data, "video/mp4")

    def _assemble(self, command: AssembleRender, report: Report) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="reelmill-", dir=self._scratch) as folder:
            try:
                return assemble_render(command, self._objects, self._runner, (Path(folder), report))
            except ObjectMissing:
                missing = self._runner.run(self._missing(command))
                if missing:
                    return SegmentsMissing(missing)
                raise

    async def _missing(self, command: AssembleRender) -> tuple[str, ...]:
        return tuple([key for key, _ in command.segments if not await self._whole(key, command.options)])

    async def _whole(self, content_key: str, options: RenderOptions) -> bool:
        """Whether a segment, its receipt and its pieces are all there; one without pictures has no pieces."""
        bucket = self._objects.bucket
        pieces = [piece_key(content_key, ARTIFACT_FILES[output]) for output in options.outputs]
        try:
            size = (await self._objects.head(ObjectRef(bucket, segment_key(content_key)))).size
            for name in (receipt_key(content_key), *(pieces if size else ())):
                await self._objects.head(ObjectRef(bucket, name))
        except ObjectMissing:
            return False
        return True

    def _scan(self, command: ScanDataset, report: Report) -> Outcome:
        return self._runner.run(self._scanned(command, report))

    async def _scanned(self, command: ScanDataset, report: Report) -> Outcome:
        from service.store.database import Database  # 28 MB that a slot which only renders does not carry
        from service.worker.scan import scan_dataset

        database = Database(self._config.database_url, self._config.database)
        try:
            summary = await scan_dataset(database, self._objects, DatasetId(command.dataset_id), report)
            return ScanDone(summary.frame_count, slot_ends=not self._gpus.opened)  # a context takes longer
        finally:
            await database.close()

    def _preview(self, wanted: Preview) -> Outcome:
        sources = self._fetcher.sources(wanted.bucket)
        if wanted.kind == "video":
            data = video_preview(wanted.frame, sources, wanted.width, wanted.max_pixels)
        else:
            with self._fetcher.prefetch(wanted.bucket, [wanted.frame]) as reader:
                data = image_preview(wanted.frame, (reader, sources), wanted.width, wanted.max_pixels, wanted.tone)
        ref = ObjectRef(self._objects.bucket, wanted.key)
        self._runner.run(self._objects.put(ref, data, "image/jpeg"))
        return PreviewDone(len(data))

    def close(self) -> None:
        self._gpus.close()
        self._fetcher.close()
        self._runner.run(self._objects.close())

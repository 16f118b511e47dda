"""Makes previews in a codec process, and publishes them."""

import asyncio
import io
from dataclasses import dataclass

from service.pipeline.frame_context import FrameWatch
from service.pipeline.frames import FrameMissing, ReadFailed, open_watched
from service.pipeline.output_frame import FrameSkipped, render_output_frame
from service.pipeline.stills.preview import PreviewOptions, image_preview, video_preview
from service.pipeline.stills.samples import SampleReader
from service.pipeline.stills.sheet import Sheet, SheetOptions
from service.pipeline.stills.video_frame import video_frame_png
from service.plan.preview import (
    SHEET_COLUMNS,
    FramePreview,
    OutputFrame,
    Preview,
    RenderedPreview,
    SampleArray,
    SamplePatch,
    ThumbnailSheet,
)
from service.plan.render_plan import FrameRef, ObjectRef
from service.store.objects.digests import WrittenObject, read_checked, sha256_hex
from service.store.objects.object_store import ObjectAccess, ObjectNotFound
from service.worker.fetch.frame_fetcher import FrameFetcher
from service.worker.slots.messages import Outcome, PreviewDone, TaskFailed

MEDIA_TYPES = {"jpg": "image/jpeg", "json": "application/json", "npy": "application/x-npy", "png": "image/png"}


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image; of a `transient` one, another attempt may show something else."""

    data: bytes
    transient: bool = False


@dataclass(frozen=True, slots=True)
class PreviewRenderer:
    """Makes one preview: reads at most `window_bytes` ahead, and tells `watch` of each frame."""

    fetcher: FrameFetcher
    window_bytes: int
    watch: FrameWatch

    def render(self, preview: Preview, objects: ObjectAccess, runner: asyncio.Runner) -> Outcome:
        """Make and publish it. Raises what the functions of the pipeline raise, ObjectStoreError."""
        try:
            if isinstance(preview, OutputFrame):
                picture = Picture(self._decode_output_frame(preview, objects, runner))
            else:
                picture = self._render(preview)
        except FrameSkipped as skipped:
            return TaskFailed("skipped", skipped.reason)
        ref = ObjectRef(objects.bucket, preview.key)
        runner.run(objects.put(ref, picture.data, MEDIA_TYPES[preview.suffix]))
        return PreviewDone(len(picture.data), sha256_hex(picture.data), picture.transient)

    def _decode_output_frame(self, preview: OutputFrame, objects: ObjectAccess, runner: asyncio.Runner) -> bytes:
        """Raises FrameMissing if the file is gone or damaged."""
        if preview.etag:
            video = FrameRef(preview.number, preview.file_key, preview.etag, preview.size)
            try:
                return video_frame_png(open_watched(self.fetcher.source_opener(objects.bucket), video), preview.place)
            except ReadFailed as failed:
                raise failed.error from None
        try:
            data = runner.run(read_checked(objects, WrittenObject(preview.file_key, preview.sha256)))
        except ObjectNotFound as loss:
            raise FrameMissing("its segment is gone or damaged") from loss
        return video_frame_png(io.BytesIO(data), preview.place)

    def _render(self, preview: Preview) -> Picture:
        match preview:
            case FramePreview():
                return Picture(self._render_frame(preview))
            case RenderedPreview():
                return self._render_output_frame(preview)
            case SamplePatch() | SampleArray():
                return Picture(self._read_samples(preview))
            case ThumbnailSheet():
                return self._render_sheet(preview)
        raise TypeError(f"no slot makes a {type(preview).__name__}")

    def _render_frame(self, preview: FramePreview) -> bytes:
        sources = self.fetcher.source_opener(preview.bucket)
        options = PreviewOptions(preview.width, preview.max_pixels, preview.tone)
        if preview.kind == "video":
            return video_preview(preview.frame, sources, options)
        with self.fetcher.prefetch(preview.bucket, [preview.frame], self.window_bytes) as reader:
            return image_preview(preview.frame, reader, sources, options)

    def _read_samples(self, preview: SamplePatch | SampleArray) -> bytes:
        sources = self.fetcher.source_opener(preview.bucket)
        with self.fetcher.prefetch(preview.bucket, [preview.frame], self.window_bytes) as reader:
            samples = SampleReader(reader, sources, preview.max_pixels)
            if isinstance(preview, SampleArray):
                return samples.array(preview.frame, preview.size, preview.window)
            return samples.patch(preview.frame, (preview.x, preview.y))

    def _render_output_frame(self, preview: RenderedPreview) -> Picture:
        plan = preview.plan
        sources = self.fetcher.source_opener(plan.bucket)
        with self.fetcher.prefetch(plan.bucket, plan.frames_to_read(), self.window_bytes) as reader:
            found = render_output_frame(plan, reader, sources, self.watch)
        return Picture(found.png, found.transient)

    def _render_sheet(self, preview: ThumbnailSheet) -> Picture:
        sources = self.fetcher.source_opener(preview.bucket)
        options = SheetOptions(preview.kind, preview.cell, SHEET_COLUMNS, preview.max_pixels, preview.tone)
        sheet = Sheet(options, len(preview.frames))
        with self.fetcher.prefetch(preview.bucket, preview.frames, self.window_bytes) as reader:
            sheet.draw(preview.frames, reader, sources, self.watch)
        return Picture(sheet.finish(), sheet.transient)

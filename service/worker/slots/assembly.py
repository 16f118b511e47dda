"""Joins the segments of a render into a video, builds its poster, receipt and artifacts, and publishes them all."""

import asyncio
import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from service import __version__
from service.pipeline.encode.assemble import NothingToAssemble, SegmentMismatch, assemble
from service.pipeline.encode.codecs import encoder_name
from service.pipeline.stills.artifacts import Keogram, PreviewStrip, keogram_height, poster, tile_size
from service.plan.formats import ARTIFACT_FILES, MEDIA_TYPES, Output
from service.plan.render_plan import PIPELINE_VERSION, ObjectRef, RenderOptions
from service.scratch import working_file
from service.store.objects.digests import StoredSegment, WrittenObject, sha256_hex
from service.store.objects.keys import SEGMENT_RECEIPT, SEGMENT_VIDEO, render_object_key
from service.store.objects.object_store import ObjectAccess, ObjectInfo, ObjectNotFound
from service.stream.fragments import MalformedMp4, segment_duration
from service.worker.fetch.batch_reader import BatchReader, batches, gather_all
from service.worker.slots.messages import AssembleRender, AssemblyDone, Outcome, SegmentsMissing, TaskFailed

POSTER_NAME, RECEIPT_NAME, PREVIEW_VTT_NAME = "poster.jpg", "receipt.ndjson", "preview.vtt"
# Media types of everything but videos, by suffix.
FILE_MEDIA_TYPES = {
    ".ndjson": "application/x-ndjson",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".vtt": "text/vtt",
}
# The summary names this many frames that are not plain `ok`; the receipt names all.
MAX_NOTES = 100
# Reads these objects in order, and checks them.
ReadObjects = Callable[[Sequence[WrittenObject]], Iterator[bytes]]


@dataclass
class SegmentOffsets:
    """Where on the timeline, in seconds, each segment with frames begins; filled in while the video is assembled."""

    starts: list[tuple[StoredSegment, Fraction]] = field(default_factory=list)
    end: Fraction = Fraction(0)

    def add(self, segment: StoredSegment, data: bytes) -> None:
        self.starts.append((segment, self.end))
        self.end += segment_duration(data)


def build_artifacts(
    options: RenderOptions, offsets: SegmentOffsets, frames: int, read_objects: ReadObjects
) -> dict[str, bytes]:
    """The files that the options ask for besides the video, by name. Raises what `read_objects` raises."""

    def pieces(output: Output) -> Iterator[tuple[bytes, Fraction]]:
        found = read_objects([segment.file(ARTIFACT_FILES[output]) for segment, _ in offsets.starts])
        return zip(found, (start for _, start in offsets.starts), strict=True)

    artifacts = {}
    if "preview_strip" in options.outputs:
        strip = PreviewStrip(tile_size(*options.shown_size))
        for piece, start in pieces("preview_strip"):
            strip.add(piece, start)
        artifacts[ARTIFACT_FILES["preview_strip"]], artifacts[PREVIEW_VTT_NAME] = strip.finish(offsets.end)
    if "keogram" in options.outputs:
        keogram = Keogram(frames, keogram_height(options.shown_size[1]))
        for piece, _ in pieces("keogram"):
            keogram.add(piece)
        artifacts[ARTIFACT_FILES["keogram"]] = keogram.finish()
    return artifacts


@dataclass
class ReceiptWriter:
    """Writes the render receipt: one line per planned frame, then a summary."""

    path: Path
    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    timestamp_anomalies: Counter[str] = field(default_factory=Counter)
    conversions: Counter[str] = field(default_factory=Counter)
    notes: list[dict[str, Any]] = field(default_factory=list)
    clipped_samples: Counter[str] = field(default_factory=Counter)

    def add_segment(self, lines: bytes) -> None:
        """Append the lines of one segment, with output numbers of the whole video."""
        first_output = self.frames
        with self.path.open("ab") as file:
            for line in lines.splitlines():
                entry = json.loads(line)
                if entry["output"] is not None:
                    entry["output"] += first_output
                    self.frames += 1
                self._count(entry)
                file.write(json.dumps(entry).encode() + b"\n")

    def _count(self, entry: dict[str, Any]) -> None:
        self.outcomes[entry["outcome"]] += 1
        if entry.get("clock"):
            self.timestamp_anomalies[entry["clock"]] += 1
        self.conversions.update(entry.get("conversions", ()))
        if entry["outcome"] != "ok" and len(self.notes) < MAX_NOTES:
            self.notes.append(
                {
                    "index": entry["source"],
                    "output": entry["output"],
                    "outcome": entry["outcome"],
                    "reason": entry["reason"],
                }
            )
        if (clipped := entry.get("clipped")) is not None:  # samples outside the window of the tone
            self.clipped_samples.update(dict(zip(("below", "above", "nan"), clipped, strict=True)))
            self.clipped_samples["frames"] += any(clipped)

    def add_summary(self, summary: dict[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps({"summary": summary}).encode() + b"\n")


def assemble_render(
    command: AssembleRender,
    objects: ObjectAccess,
    runner: asyncio.Runner,
    on_progress: Callable[[int], None],
) -> Outcome:
    """Assemble and publish a render. Raises ObjectStoreError.

    SegmentsMissing if a segment is not as it was written. One of a version that kept no digests cannot be checked: it
    is rendered again if what was joined cannot be read.
    """
    if evicted := tuple(segment.content_key for segment in command.segments if not segment.cached):
        return SegmentsMissing((), evicted)
    try:
        with working_file("video") as video, working_file("receipt") as receipt:
            return _Assembly(command, objects, runner, (video, receipt), on_progress).run()
    except ObjectNotFound:
        if damaged := _find_damaged_segments(command, BatchReader(objects, runner), on_progress):
            return SegmentsMissing(damaged)
        raise
    except (av.FFmpegError, MalformedMp4, ValueError):
        if unchecked := tuple(segment.content_key for segment in command.segments if not segment.digests):
            return SegmentsMissing(unchecked)
        raise


class _Assembly:
    """One render being assembled: its files so far."""

    def __init__(
        self,
        command: AssembleRender,
        objects: ObjectAccess,
        runner: asyncio.Runner,
        files: tuple[Path, Path],
        on_progress: Callable[[int], None],
    ) -> None:
        self._command, self._objects, self._runner, self._on_progress = command, objects, runner, on_progress
        self._reader = BatchReader(objects, runner)
        self._video, self._receipt = files[0], ReceiptWriter(files[1])
        self._video_name = f"video.{command.options.container}"
        self._offsets = SegmentOffsets()
        self._poster: Future[bytes] | None = None

    def run(self) -> Outcome:
        """Raises ObjectNotFound if an object of a segment is gone or damaged."""
        options = self._command.options
        with ThreadPoolExecutor(1) as thread:  # for the poster: at the end of a render the other cores are idle
            try:
                assemble(self._read_segments(thread), options, self._video)
            except NothingToAssemble:
                return TaskFailed("no_frames", "every frame was skipped: nothing is left to show")
            except SegmentMismatch as mismatch:
                return TaskFailed("segments_differ", f"{mismatch}: was it made by another version of the encoder?")
            summary: dict[str, Any] = self._command.receipt_facts | _build_summary(options, self._receipt, self._video)
            self._receipt.add_summary(summary)
            frames = self._receipt.frames
            artifacts = build_artifacts(options, self._offsets, frames, self._reader.iter_objects)
            etag = self._runner.run(self._publish(artifacts))
        return AssemblyDone(
            video_key=self._key(self._video_name),
            size=summary["bytes"],
            sha256=summary["sha256"],
            frames=summary["frames"],
            poster_key=self._key(POSTER_NAME),
            receipt_key=self._key(RECEIPT_NAME),
            summary=summary,
            etag=etag,
            digests=self._digests(artifacts),
            stored_bytes=self._stored_bytes(artifacts),
        )

    def _stored_bytes(self, artifacts: dict[str, bytes]) -> int:
        assert self._poster is not None  # something was assembled
        files = sum(path.stat().st_size for path in (self._video, self._receipt.path))
        return files + len(self._poster.result()) + sum(map(len, artifacts.values()))

    def _digests(self, artifacts: dict[str, bytes]) -> dict[str, str]:
        """The SHA-256 of every file but the video, by name."""
        assert self._poster is not None  # something was assembled
        digests = {name: sha256_hex(data) for name, data in artifacts.items()}
        return digests | {
            POSTER_NAME: sha256_hex(self._poster.result()),
            RECEIPT_NAME: _file_sha256(self._receipt.path),
        }

    def _read_segments(self, thread: ThreadPoolExecutor) -> Iterator[bytes]:
        """The segments with frames, in order; their receipts are written on the way, the first starts the poster."""
        for batch in batches(self._command.segments):
            found = self._reader.read_all(
                [each.file(name) for name in (SEGMENT_RECEIPT, SEGMENT_VIDEO) for each in batch]
            )
            for segment, lines, data in zip(batch, found[: len(batch)], found[len(batch) :], strict=True):
                self._receipt.add_segment(lines)
                self._on_progress(self._receipt.frames)
                if data:
                    self._poster = self._poster or thread.submit(poster, data)
                    self._offsets.add(segment, data)
                    yield data

    async def _publish(self, artifacts: dict[str, bytes]) -> str:
        """Write all objects at once; returns the ETag of the video. The render names none of them before all are
        written."""
        assert self._poster is not None  # something was assembled
        poster_future = asyncio.wrap_future(self._poster)

        async def put_poster() -> ObjectInfo:
            return await self._put(POSTER_NAME, await poster_future)

        video_type = MEDIA_TYPES[self._command.options.container]
        receipt_type = FILE_MEDIA_TYPES[Path(RECEIPT_NAME).suffix]
        video, *_ = await gather_all(
            [
                self._objects.put_file(self._ref(self._video_name), self._video, video_type),
                self._objects.put_file(self._ref(RECEIPT_NAME), self._receipt.path, receipt_type),
                *(self._put(name, data) for name, data in artifacts.items()),
                put_poster(),
            ]
        )
        return video.etag

    async def _put(self, name: str, data: bytes) -> ObjectInfo:
        return await self._objects.put(self._ref(name), data, FILE_MEDIA_TYPES[Path(name).suffix])

    def _ref(self, name: str) -> ObjectRef:
        return ObjectRef(self._objects.bucket, self._key(name))

    def _key(self, name: str) -> str:
        return render_object_key(self._command.render_id, name)


def _find_damaged_segments(
    command: AssembleRender, reader: BatchReader, on_progress: Callable[[int], None]
) -> tuple[str, ...]:
    """Content keys of the segments of which an object is gone or damaged: the video, the receipt, or an artifact.

    A segment without frames has no artifacts.
    """
    damaged = []
    for segment in command.segments:
        on_progress(0)
        artifacts = [ARTIFACT_FILES[output] for output in command.options.outputs] if segment.size else []
        try:
            reader.read_all([segment.file(name) for name in (SEGMENT_VIDEO, SEGMENT_RECEIPT, *artifacts)])
        except ObjectNotFound:
            damaged.append(segment.content_key)
    return tuple(damaged)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build_summary(options: RenderOptions, receipt: ReceiptWriter, video: Path) -> dict[str, Any]:
    return {
        "frames": receipt.frames,
        "fps": str(options.fps),
        "width": options.width,
        "height": options.height,
        "outcomes": dict(receipt.outcomes),
        "notes": receipt.notes,
        "clipped": dict(receipt.clipped_samples),
        "clock": dict(receipt.timestamp_anomalies),
        "conversions": dict(receipt.conversions),
        "bytes": video.stat().st_size,
        "sha256": _file_sha256(video),
        "encoder": f"nvenc {options.codec}" if options.family.encoder == "nvenc" else encoder_name(options.codec),
        "options": options.to_json(),
        "versions": {
            "reelmill": __version__,
            "pipeline": PIPELINE_VERSION,
            "pyav": av.__version__,
            "ffmpeg": av.ffmpeg_version_info,
            "python": platform.python_version(),
        },
    }

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
from service.store.objects.keys import artifact_key, receipt_key, render_object_key, segment_key
from service.store.objects.object_store import ObjectInfo, ObjectStore
from service.stream.fragments import segment_duration
from service.worker.fetch.batch_reader import BatchReader, batches, gather_all
from service.worker.slots.messages import AssembleRender, AssemblyDone, Outcome, TaskFailed

PREVIEW_VTT_NAME = "preview.vtt"
# The bytes of these objects of the service's bucket, in order.
ReadObjects = Callable[[Sequence[str]], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished by-product: its file name, bytes and media type."""

    name: str
    data: bytes
    media_type: str


@dataclass
class SegmentOffsets:
    """Where on the time line each segment with pictures begins, noted while the video is assembled."""

    starts: list[tuple[str, Fraction]] = field(default_factory=list)
    end: Fraction = Fraction(0)

    def add(self, content_key: str, segment: bytes) -> None:
        self.starts.append((content_key, self.end))
        self.end += segment_duration(segment)


def build_artifacts(
    options: RenderOptions, offsets: SegmentOffsets, frames: int, read_objects: ReadObjects
) -> Iterator[Artifact]:
    """What was asked for. Raises what `each` raises."""

    def pieces(output: Output) -> Iterator[tuple[bytes, Fraction]]:
        found = read_objects([artifact_key(key, ARTIFACT_FILES[output]) for key, _ in offsets.starts])
        return zip(found, (start for _, start in offsets.starts), strict=True)

    if "preview_strip" in options.outputs:
        strip = PreviewStrip(tile_size(options.width, options.height))
        for piece, start in pieces("preview_strip"):
            strip.add(piece, start)
        sprite, cues = strip.finish(offsets.end)
        yield Artifact(ARTIFACT_FILES["preview_strip"], sprite, "image/jpeg")
        yield Artifact(PREVIEW_VTT_NAME, cues, "text/vtt")
    if "keogram" in options.outputs:
        keogram = Keogram(frames, keogram_height(options.height))
        for piece, _ in pieces("keogram"):
            keogram.add(piece)
        yield Artifact(ARTIFACT_FILES["keogram"], keogram.finish(), "image/png")


POSTER_NAME, RECEIPT_NAME = "poster.jpg", "receipt.ndjson"
# How many of the frames that are not plain `ok` the summary itself names; the receipt names all.
MAX_NOTES = 100


@dataclass
class ReceiptWriter:
    """The render receipt as it grows: one line per planned frame, then a summary."""

    path: Path
    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    timestamp_anomalies: Counter[str] = field(default_factory=Counter)
    notes: list[dict[str, Any]] = field(default_factory=list)
    clipped_samples: Counter[str] = field(default_factory=Counter)

    def add_segment(self, lines: bytes) -> None:
        """Append one segment's lines, its output numbers moved to the whole video's."""
        base = self.frames
        with self.path.open("ab") as file:
            for line in lines.splitlines():
                entry = json.loads(line)
                if entry["output"] is not None:
                    entry["output"] += base
                    self.frames += 1
                self._count_outcome(entry)
                self._count_clipped(entry.get("clipped"))
                file.write(json.dumps(entry).encode() + b"\n")

    def _count_clipped(self, counts: list[int] | None) -> None:
        """Sum up what the tone's window has cut off."""
        if counts is not None:
            self.clipped_samples.update(dict(zip(("below", "above", "nan"), counts, strict=True)))
            self.clipped_samples["frames"] += any(counts)

    def _count_outcome(self, entry: dict[str, Any]) -> None:
        self.outcomes[entry["outcome"]] += 1
        if entry.get("clock"):
            self.timestamp_anomalies[entry["clock"]] += 1
        if entry["outcome"] != "ok" and len(self.notes) < MAX_NOTES:
            self.notes.append(
                {
                    "index": entry["source"],
                    "output": entry["output"],
                    "outcome": entry["outcome"],
                    "reason": entry["reason"],
                }
            )


def assemble_render(
    command: AssembleRender,
    objects: ObjectStore,
    runner: asyncio.Runner,
    to: tuple[Path, Callable[[int], None]],
) -> Outcome:
    """`to` is (a scratch folder, the progress call). Raises ObjectMissing when a cached segment is gone."""
    folder, report = to
    receipt, places, reads = ReceiptWriter(folder / RECEIPT_NAME), SegmentOffsets(), BatchReader(objects, runner)
    still: list[Future[bytes]] = []

    def segments() -> Iterator[bytes]:
        for key, lines, data in _read_segments(command, reads):
            receipt.add_segment(lines)
            report(receipt.frames)
            if data:
                still[:] = still or [beside.submit(poster, data)]
                places.add(key, data)
                yield data

    video = folder / f"video.{command.options.container}"
    with ThreadPoolExecutor(1) as beside:  # at the end of a render the other cores have nothing to do
        try:
            assemble(segments(), command.options, video)
        except NothingToAssemble:
            return TaskFailed("no_frames", "every frame was skipped: nothing is left to show")
        except SegmentMismatch as differ:
            return TaskFailed("segments_differ", f"{differ}: was it made by another version of the encoder?")
        summary = command.receipt_facts | _build_summary(command.options, receipt, video)
        with receipt.path.open("ab") as file:
            file.write(json.dumps({"summary": summary}).encode() + b"\n")
        extras = [*build_artifacts(command.options, places, receipt.frames, reads.iter_objects)]
        runner.run(_publish(command, objects, (video, receipt.path), extras, still[0]))
    return _assembly_done(command, video, summary)


def _read_segments(command: AssembleRender, reader: BatchReader) -> Iterator[tuple[str, bytes, bytes]]:
    """(content key, receipt, video) of each segment."""
    for keys in batches(command.segments):
        found = reader.read_all([name(key) for name in (receipt_key, segment_key) for key in keys])
        yield from zip(keys, found[: len(keys)], found[len(keys) :], strict=True)


async def _publish(
    command: AssembleRender,
    objects: ObjectStore,
    files: tuple[Path, Path],
    artifacts: list[Artifact],
    poster_future: Future[bytes],
) -> None:
    """All at once: nobody is told of any before all are there. The poster takes longest and comes when it is made."""
    video, receipt = files

    def ref(name: str) -> ObjectRef:
        return ObjectRef(objects.bucket, render_object_key(command.render_id, name))

    async def poster_too() -> ObjectInfo:
        return await objects.put(ref(POSTER_NAME), await asyncio.wrap_future(poster_future), "image/jpeg")

    puts = [
        objects.put_file(ref(RECEIPT_NAME), receipt, "application/x-ndjson"),
        objects.put_file(ref(video.name), video, MEDIA_TYPES[command.options.container]),
        *(objects.put(ref(extra.name), extra.data, extra.media_type) for extra in artifacts),
        poster_too(),
    ]
    await gather_all(puts)


def _assembly_done(command: AssembleRender, video: Path, summary: dict[str, Any]) -> AssemblyDone:
    keys = [render_object_key(command.render_id, name) for name in (video.name, POSTER_NAME, RECEIPT_NAME)]
    return AssemblyDone(keys[0], video.stat().st_size, summary["sha256"], summary["frames"], keys[1], keys[2], summary)


def _build_summary(options: RenderOptions, receipt: ReceiptWriter, video: Path) -> dict[str, Any]:
    with video.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "frames": receipt.frames,
        "fps": str(options.fps),
        "width": options.width,
        "height": options.height,
        "outcomes": dict(receipt.outcomes),
        "notes": receipt.notes,
        "clipped": dict(receipt.clipped_samples),
        "clock": dict(receipt.timestamp_anomalies),
        "bytes": video.stat().st_size,
        "sha256": digest,
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

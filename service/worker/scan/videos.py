"""Probes objects as source videos, one after the other, and records the timestamp of every frame."""

import hashlib
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, BinaryIO

from service.pipeline.colour import FULL_RANGE, LIMITED_RANGE
from service.pipeline.frame_context import OUT_OF_MEMORY
from service.pipeline.frames import MediaUnreadable
from service.pipeline.memory_limit import may_have_room_when_new
from service.pipeline.probe import VideoFacts, probe_video
from service.plan.names.natural_sort import natural_key
from service.plan.render_plan import ObjectRef
from service.store.catalog.scanned import MAX_PROBLEMS, digest_line
from service.store.objects.object_store import ObjectAccess, ObjectInfo, ObjectNotFound, ObjectVersion
from service.worker.fetch.ranged_files import RangedFile
from service.worker.scan.images import as_utc, clean_reason
from service.worker.scan.unchanged import ObjectUnreadable, scan_unchanged
from service.worker.scan.watch import ObjectWatch

UNREADABLE_COLUMNS = dict.fromkeys(
    ("codec", "width", "height", "fps", "packets", "colour", "pixel_aspect", "fields")
) | {"frame_count": 0}


class VideoScanner:
    """Collects source videos page by page, then probes them in natural order. Memory: one small row for each file."""

    def __init__(self, objects: ObjectAccess, bucket: str, on_progress: Callable[[], None], watch: ObjectWatch) -> None:
        self._objects, self._bucket, self._on_progress, self._watch = objects, bucket, on_progress, watch
        self._found: list[ObjectInfo] = []
        self._captured: list[datetime] = []
        self._pixel_formats, self._field_orders = Counter[str](), Counter[str]()
        # (width, height as shown, stored size, pixel aspect) -> pictures
        self._sizes = Counter[tuple[int, int, tuple[int, int], str]]()
        self.rows: list[dict[str, Any]] = []

    def add_page(self, videos: Sequence[ObjectInfo]) -> None:
        """Collect the source videos of a page."""
        self._found += videos

    async def probe(self) -> AsyncIterator[str | None]:
        """Yields after each source: its key if it was deleted since it was listed. Raises ObjectStoreError."""
        first_index = 0
        for info in sorted(self._found, key=lambda info: (natural_key(info.key), info.key)):
            row = await self._source_row(info, first_index)
            if row is not None:
                self.rows.append(row)
                first_index += row["frame_count"]
            yield None if row else info.key

    async def _source_row(self, info: ObjectInfo, first_index: int) -> dict[str, Any] | None:
        """None if the source was deleted since it was listed."""
        try:
            return await scan_unchanged(
                self._objects, self._bucket, info, lambda found: self._probe_source(found, first_index)
            )
        except ObjectNotFound:
            return None
        except ObjectUnreadable as found:
            return self._unreadable_row(found.info, first_index, found.reason)

    def _object_columns(self, info: ObjectInfo, first_index: int) -> dict[str, Any]:
        facts = {"number": len(self.rows), "key": info.key, "size": info.size, "etag": info.etag}
        return facts | {"first_index": first_index}

    def _unreadable_row(self, info: ObjectInfo, first_index: int, reason: str) -> dict[str, Any]:
        nothing = UNREADABLE_COLUMNS | {"pts": pack_timestamps(()), "problem": clean_reason(reason)}
        return self._object_columns(info, first_index) | nothing

    async def _probe_source(self, info: ObjectInfo, first_index: int) -> dict[str, Any]:
        try:
            self._watch.enter(info.key)
            version = ObjectVersion(ObjectRef(self._bucket, info.key), info.etag, info.size)
            file = RangedFile(self._objects, version)
            facts = await file.run_in_thread(_probe_file, self._on_progress)
        except MediaUnreadable as error:
            return self._unreadable_row(info, first_index, error.reason)
        self._pixel_formats[facts.pixel_format] += len(facts.pts)
        self._sizes[facts.width, facts.height, facts.stored_size, str(facts.pixel_aspect)] += len(facts.pts)
        if facts.field_order is not None:
            self._field_orders[facts.field_order] += len(facts.pts)
        if captured_at := as_utc(facts.captured_at):
            self._captured.append(captured_at)
        return self._object_columns(info, first_index) | {
            "codec": facts.codec,
            "width": facts.width,
            "height": facts.height,
            "fps": str(facts.average_rate) if facts.average_rate else None,
            "frame_count": len(facts.pts),
            "pts": pack_timestamps(facts.pts),
            "packets": pack_timestamps(facts.packets) if facts.packets is not None else None,
            "problem": facts.problem,
            "pixel_aspect": str(facts.pixel_aspect),
            "colour": asdict(facts.colour) | {"range": FULL_RANGE if facts.full_range else LIMITED_RANGE},
            "fields": facts.field_order,
        }

    def dataset_facts(self) -> dict[str, Any]:
        """Values of the dataset's columns, from all its sources."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(digest_line(row["key"], row["etag"], row["size"]))
        sizes = [
            {"width": w, "height": h, "count": n, "stored_width": sw, "stored_height": sh, "pixel_aspect": aspect}
            for (w, h, (sw, sh), aspect), n in self._sizes.most_common(1000)
        ]
        usual = sizes[0] if sizes else {"width": None, "height": None}
        return {
            "frame_count": sum(row["frame_count"] for row in self.rows),
            "bytes": sum(row["size"] for row in self.rows),
            "width": usual["width"],
            "height": usual["height"],
            "sizes": sizes,
            "forms": dict(self._pixel_formats),
            "field_orders": dict(self._field_orders),
            "formats": sorted({row["codec"] for row in self.rows if row["codec"]}),
            "captured_from": min(self._captured, default=None),
            "captured_to": max(self._captured, default=None),
            "gaps": [],
            "gap_frames": 0,
            "unreadable_frames": sum(row["problem"] is not None for row in self.rows),
            "number_first": None,
            "number_stride": None,
            "digest": digest.hexdigest(),
        }

    def problems(self) -> list[dict[str, Any]]:
        """The most frequent reasons why sources cannot be read: `reason`, `count`, and the first key as `example`."""
        keys: dict[str, list[str]] = {}
        for row in self.rows:
            if row["problem"]:
                keys.setdefault(row["problem"], []).append(row["key"])
        ordered = sorted(keys.items(), key=lambda item: -len(item[1]))[:MAX_PROBLEMS]
        return [{"reason": reason, "count": len(found), "example": found[0]} for reason, found in ordered]

    def first_problem(self) -> str | None:
        return next((row["problem"] for row in self.rows if row["problem"]), None)


def _probe_file(file: BinaryIO) -> VideoFacts:
    """Probe a file. Any exception means that this source is unreadable, so that it does not end the scan."""
    try:
        return probe_video(file)
    except MediaUnreadable:
        raise
    except MemoryError as error:
        if may_have_room_when_new():
            raise
        raise MediaUnreadable(f"it cannot be read: {OUT_OF_MEMORY}") from error
    except Exception as error:
        raise MediaUnreadable(f"the source video cannot be understood ({type(error).__name__})") from error


def pack_timestamps(pts: Sequence[int]) -> bytes:
    """zlib of little-endian int64."""
    times = array("q", pts)
    if sys.byteorder == "big":
        times.byteswap()
    return zlib.compress(times.tobytes())

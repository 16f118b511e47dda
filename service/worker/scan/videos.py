"""Probes objects as source videos, one after the other, and records the timestamp of every frame."""

import hashlib
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from service.pipeline.frames import MediaUnreadable
from service.pipeline.probe import VideoFacts, probe_video
from service.plan.natural_sort import natural_key
from service.plan.render_plan import ObjectRef
from service.store.catalog.scan import digest_line
from service.store.objects.object_store import ObjectInfo, ObjectNotFound, ObjectStore
from service.worker.fetch.ranged_files import RangedFile
from service.worker.scan.images import as_utc, clean_reason

VIDEO_SUFFIXES = frozenset(
    (
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".ts",
        ".mts",
        ".m2ts",
        ".mpg",
        ".mpeg",
        ".mjpeg",
        ".mjpg",
        ".mxf",
        ".flv",
        ".wmv",
    )
)
UNREADABLE_COLUMNS = {"fields": None, "codec": None, "width": None, "height": None, "fps": None, "frame_count": 0}


class VideoScanner:
    """Collects source videos page by page, then probes them in natural order. Memory: one small row for each file."""

    def __init__(self, objects: ObjectStore, bucket: str, on_progress: Callable[[], None]) -> None:
        self._objects, self._bucket, self._on_progress = objects, bucket, on_progress
        self._found: list[ObjectInfo] = []
        self._captured: list[datetime] = []
        self._pixel_formats, self._field_orders = Counter[str](), Counter[str]()
        self.rows: list[dict[str, Any]] = []

    def add_page(self, page: Sequence[ObjectInfo]) -> int:
        """Collect the videos of a page; returns how many objects are not videos."""
        videos = [info for info in page if _has_video_suffix(info.key)]
        self._found += videos
        return len(page) - len(videos)

    async def probe(self) -> AsyncIterator[None]:
        """Yields after each source. Raises ObjectStoreError."""
        first_index = 0
        for info in sorted(self._found, key=lambda info: (natural_key(info.key), info.key)):
            row = await self._source_row(info, first_index)
            if row is not None:
                self.rows.append(row)
                first_index += row["frame_count"]
            yield

    async def _source_row(self, info: ObjectInfo, first_index: int) -> dict[str, Any] | None:
        row = {
            "number": len(self.rows),
            "key": info.key,
            "size": info.size,
            "etag": info.etag,
            "first_index": first_index,
        }
        try:
            file = RangedFile(self._objects, ObjectRef(self._bucket, info.key), info.size)
            facts = await file.run_in_thread(_probe_file, self._on_progress)
        except ObjectNotFound:
            return None
        except MediaUnreadable as error:
            return row | UNREADABLE_COLUMNS | {"pts": pack_timestamps(()), "problem": clean_reason(error.reason)}
        self._pixel_formats[facts.pixel_format] += len(facts.pts)
        if facts.field_order is not None:
            self._field_orders[facts.field_order] += len(facts.pts)
        if facts.captured_at is not None:
            self._captured.append(as_utc(facts.captured_at))
        return row | {
            "codec": facts.codec,
            "width": facts.width,
            "height": facts.height,
            "fps": str(facts.average_rate) if facts.average_rate else None,
            "frame_count": len(facts.pts),
            "pts": pack_timestamps(facts.pts),
            "problem": None,
            "fields": facts.field_order,
        }

    def dataset_facts(self) -> dict[str, Any]:
        """Values of the dataset's columns, from all its sources."""
        digest, sizes = hashlib.sha256(), Counter[tuple[int, int]]()
        for row in self.rows:
            digest.update(digest_line(row["key"], row["etag"], row["size"]))
            if row["width"] is not None:
                sizes[row["width"], row["height"]] += row["frame_count"]
        width, height = sizes.most_common(1)[0][0] if sizes else (None, None)
        return {
            "frame_count": sum(row["frame_count"] for row in self.rows),
            "bytes": sum(row["size"] for row in self.rows),
            "width": width,
            "height": height,
            "sizes": [{"width": w, "height": h, "count": n} for (w, h), n in sizes.most_common(1000)],
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

    def first_problem(self) -> str | None:
        return next((row["problem"] for row in self.rows if row["problem"]), None)


def _probe_file(file: BinaryIO) -> VideoFacts:
    """Probe a file. Any exception means that this source is unreadable, so that it does not end the scan."""
    try:
        return probe_video(file)
    except MediaUnreadable:
        raise
    except Exception as error:
        raise MediaUnreadable(f"the source video cannot be understood ({type(error).__name__})") from error


def pack_timestamps(pts: Sequence[int]) -> bytes:
    """zlib of little-endian int64."""
    times = array("q", pts)
    if sys.byteorder == "big":
        times.byteswap()
    return zlib.compress(times.tobytes())


def _has_video_suffix(key: str) -> bool:
    name = PurePosixPath(key).name
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES

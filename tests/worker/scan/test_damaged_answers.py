"""Scans from an S3 server whose answers are damaged: no wrong fact is noted, and one object does not end the scan."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import numpy as np
import pytest

from service.store.objects.object_store import ObjectInfo, ObjectStoreError
from service.store.objects.s3 import S3ObjectStore
from service.worker.scan.images import ImageScanner
from service.worker.scan.levels import LevelScanner
from service.worker.scan.videos import VideoScanner
from service.worker.scan.watch import ObjectWatch
from tests.support.data import media
from tests.support.servers.object_server import FaultyObjectServer
from tests.support.servers.stored_frames import BUCKET, object_settings

PICTURE = np.full((32, 48, 3), 90, np.uint8)
pytestmark = pytest.mark.anyio


class FaultyShelf:
    """A server of objects, and the store that a scan reads them from."""

    def __init__(self) -> None:
        self.server = FaultyObjectServer()
        self.store = S3ObjectStore(object_settings(self.server.address))

    def put(self, key: str, data: bytes) -> ObjectInfo:
        return ObjectInfo(key, len(data), self.server.put(key, data), datetime.now(UTC))


@pytest.fixture
async def shelf() -> AsyncIterator[FaultyShelf]:
    shelf = FaultyShelf()
    yield shelf
    await shelf.store.close()
    shelf.server.stop()


async def test_a_frame_that_is_always_damaged_is_unreadable(shelf: FaultyShelf) -> None:
    infos = [shelf.put(name, media.jpeg(PICTURE)) for name in ("1.jpg", "2.jpg")]
    scanner = ImageScanner(shelf.store, BUCKET, lambda: None, ObjectWatch(lambda key: None))
    await scanner.scan_page(infos)
    shelf.server.faults = {"2.jpg": ["flipped"] * 20}
    first, second = [next(iter(rows or ())) for rows in await scanner.scan_page(infos)]
    assert (first.width, first.problem) == (48, None)
    assert (second.width, second.etag) == (None, infos[1].etag)
    assert "not those of its ETag" in (second.problem or "")


async def test_a_video_that_is_always_damaged_is_unreadable(shelf: FaultyShelf) -> None:
    info = shelf.put("a.mp4", media.video([PICTURE] * 5))
    for faults, frame_count in (([], 5), (["flipped"] * 20, 0)):
        shelf.server.faults = {"a.mp4": faults}
        scanner = VideoScanner(shelf.store, BUCKET, lambda: None, ObjectWatch(lambda key: None))
        scanner.add_page([info])
        assert [key async for key in scanner.probe()] == [None]
        assert scanner.rows[0]["frame_count"] == frame_count
        assert bool(scanner.rows[0]["problem"]) == bool(faults)


async def test_a_part_that_is_not_there_does_not_end_a_file(shelf: FaultyShelf) -> None:
    """It would be scanned as a file that is cut off there."""
    info = shelf.put("a.mp4", media.video([PICTURE] * 5) + bytes(3_000_000))
    shelf.server.faults = {"a.mp4": ["", *["416"] * 20]}
    scanner = VideoScanner(shelf.store, BUCKET, lambda: None, ObjectWatch(lambda key: None))
    scanner.add_page([info])
    with pytest.raises(ObjectStoreError, match="fewer bytes"):
        await anext(scanner.probe())


async def test_levels_are_of_undamaged_frames(shelf: FaultyShelf) -> None:
    rows = []
    for value in (1000, 2000):
        info = shelf.put(f"{value}.tif", media.tiff(np.full((8, 8), value, np.uint16)))
        rows.append({"key": info.key, "etag": info.etag, "size": info.size, "page": None, "bits": 16})
    for faults, count in ((["flipped"], 2), (["flipped"] * 20, 1)):
        shelf.server.faults = {"2000.tif": faults}
        levels = await LevelScanner(shelf.store, BUCKET, lambda: None, ObjectWatch(lambda key: None)).scan(rows)
        assert levels is not None
        assert levels["frames"] == count

"""Previews stay within their limits: the oldest are deleted, the newest never, nor anything else."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.plan.render_plan import ObjectRef
from service.store.cache import eviction
from service.store.objects.files import FileObjectStore

pytestmark = pytest.mark.anyio
HOURS = (0.1, 2, 30, 60)
SIZE = 1000


async def fill_store(home: Path) -> FileObjectStore:
    """A preview of each age, and a segment older than all of them."""
    objects = FileObjectStore(home, "reelmill")
    await objects.check()
    for hours, key in [*((hours, f"previews/d/{hours}.jpg") for hours in HOURS), (9999, "segments/aa/old.mp4")]:
        await objects.put(ObjectRef("reelmill", key), bytes(SIZE), "image/jpeg")
        moment = time.time() - hours * 3600
        os.utime(home / "reelmill" / key, (moment, moment))
    return objects


async def left(objects: FileObjectStore) -> list[str]:
    return sorted([info.key async for page in objects.list("reelmill", "") for info in page])


def names(*hours: float) -> list[str]:
    return [*sorted(f"previews/d/{each}.jpg" for each in hours), "segments/aa/old.mp4"]


@pytest.mark.parametrize(
    ("most", "days", "kept"),
    [
        (4 * SIZE, 1000, HOURS),
        (4 * SIZE - 1, 1000, HOURS[:3]),
        (2 * SIZE, 1000, HOURS[:2]),
        (10**9, 1.5, HOURS[:3]),
        (10**9, 1, HOURS[:2]),
        (0, 1, HOURS[:1]),
    ],
)
async def test_the_oldest_go(tmp_path: Path, most: int, days: float, kept: tuple[float, ...]) -> None:
    objects = await fill_store(tmp_path)
    assert await eviction.evict_previews(objects, most, days, datetime.now(UTC)) == len(HOURS) - len(kept)
    assert await left(objects) == names(*kept)
    assert await eviction.evict_previews(objects, most, days, datetime.now(UTC)) == 0


async def test_an_empty_store_is_left_alone(tmp_path: Path) -> None:
    objects = FileObjectStore(tmp_path, "reelmill")
    await objects.check()
    assert await eviction.evict_previews(objects, 0, 1, datetime.now(UTC)) == 0

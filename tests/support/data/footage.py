"""Small numbered JPEG sequences in a folder store."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.catalog.datasets import DatasetRow, change
from service.store.objects.files import file_etag
from service.store.tables import frames
from tests.support.data.database_rows import add_dataset
from tests.support.data.media import tiff


def frame_jpeg(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture whose level encodes its number (modulo 200)."""
    file = io.BytesIO()
    level = 20 + number % 200
    picture = np.full((size[1], size[0], 3), level, np.uint8)
    picture[: size[1] // 2, : size[0] // 2] = 255 - level
    Image.fromarray(picture).save(file, "JPEG", quality=92)
    return file.getvalue()


def frame_tiff16(number: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """16-bit samples around a level that encodes the number, with a little noise."""
    random = np.random.default_rng(number)
    return tiff(random.normal(2000 + number, 3, (size[1], size[0])).astype(np.uint16))


async def add_footage(
    connection: AsyncConnection,
    home: Path,
    count: int,
    size: tuple[int, int] = (64, 48),
    make: Callable[[int, tuple[int, int]], bytes] = frame_jpeg,
) -> DatasetRow:
    """A dataset of alice's with `count` real frames: files in the folder store of `home`, and rows."""
    dataset = await add_dataset(connection, 0, "alice")
    folder = home / "objects" / "reelmill" / dataset.prefix
    folder.mkdir(parents=True)
    rows = []
    for index in range(count):
        data = make(index, size)
        file = folder / f"f{index:05d}.jpg"
        file.write_bytes(data)
        key = f"{dataset.prefix}f{index:05d}.jpg"
        rows.append(
            {
                "dataset_id": dataset.id,
                "index": index,
                "number": index,
                "key": key,
                "size": len(data),
                "etag": file_etag(file.stat()),
                "width": size[0],
                "height": size[1],
            }
        )
    await connection.execute(insert(frames), rows)
    return await change(connection, dataset.id, {"frame_count": count, "width": size[0], "height": size[1]})

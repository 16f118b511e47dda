"""A dataset in a real database, whose objects are files of a folder."""

from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from service.ids import DatasetId, new_uuid
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from service.store.tables import datasets, experiments, frames
from service.worker.scan.store import ScanSummary
from tests.support.data import media
from tests.support.data.scanning import scan_dataset

JPEG = media.jpeg(media.numbered_picture(1))


class DatasetFolder:
    """One dataset, whose objects are files under objects/camera/day/."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database, self.objects = database, FileObjectStore(home / "objects", "reelmill")
        self.folder = home / "objects" / "camera" / "day"
        self.id = DatasetId(new_uuid())

    async def create(self, kind: str = "frames", prefix: str = "day/") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        row = {"id": self.id, "name": "d", "kind": kind, "bucket": "camera", "prefix": prefix}
        async with self.database.service_transaction() as connection:
            experiment = new_uuid()
            await connection.execute(insert(experiments).values(id=experiment, name="e", owner="alice"))
            await connection.execute(insert(datasets).values(**row, experiment_id=experiment))

    def write(self, **files: bytes) -> None:
        for name, data in files.items():
            self.write_at(name.replace("__", "."), data)

    def write_at(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    async def scan(self) -> ScanSummary:
        return await scan_dataset(self.database, self.objects, self.id)

    async def row(self) -> dict[str, Any]:
        async with self.database.service_transaction() as connection:
            return dict((await connection.execute(select(datasets).where(datasets.c.id == self.id))).mappings().one())

    async def rows(self, table: Any = frames) -> list[dict[str, Any]]:
        query = select(table).where(table.c.dataset_id == self.id).order_by(table.c[1])
        async with self.database.service_transaction() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def keys(self) -> list[str]:
        return [row["key"].removeprefix("day/") for row in await self.rows()]

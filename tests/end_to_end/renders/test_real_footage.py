"""A real street camera: every frame is accounted for, and only the decimated selection is read."""

import io
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import pytest

from service.ids import DatasetId
from service.store.catalog import datasets
from service.store.catalog.datasets import DatasetRow
from service.store.database import Database
from service.store.objects.files import FileObjectStore
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.data.scanning import scan_dataset
from tests.support.data.street_footage import FRAMES, street_frames
from tests.support.opened_files import opened_files
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Street:
    database: Database
    home: Path
    dataset: DatasetRow

    @property
    def folder(self) -> Path:
        return self.home / "objects" / "reelmill" / self.dataset.prefix


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return street_frames()


@pytest.fixture
async def street(postgres_url: str, tmp_path: Path, pictures: list[bytes]) -> AsyncIterator[Street]:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
        made = Street(database, tmp_path, dataset)
        made.folder.mkdir(parents=True)
        for number, data in enumerate(pictures):
            (made.folder / f"street_{number}.jpg").write_bytes(data)  # natural order: 2 comes before 10
        await scan_dataset(database, FileObjectStore(tmp_path / "objects", "reelmill"), DatasetId(dataset.id))
        async with database.service_transaction() as connection:
            row = await datasets.get(connection, dataset.id)
        assert row is not None and (row.frame_count, row.gap_frames, row.unreadable_frames) == (FRAMES, 0, 0)
        yield replace(made, dataset=row)


@pytest.mark.parametrize(("factor", "count"), [(1, 795), (2, 398), (7, 114), (1000, 1)])
async def test_only_what_survives_decimation_is_fetched(street: Street, factor: int, count: int) -> None:
    options = replace(OPTIONS, width=street.dataset.width or 0, height=street.dataset.height or 0)
    async with running_supervisor(street.database, street.home, slots=2):
        with opened_files(street.folder) as opened:
            async with street.database.service_transaction() as connection:
                render = await add_render(connection, street.dataset, factor, options)
            row = await wait_until_ended(street.database, render)
    assert (row["status"], row["video_frames"], row["summary"]["outcomes"]) == ("succeeded", count, {"ok": count})
    assert Counter(opened) == Counter(f"street_{number}.jpg" for number in range(0, FRAMES, factor))
    video = (street.home / "objects" / "reelmill" / row["video_key"]).read_bytes()
    with av.open(io.BytesIO(video)) as file:
        assert sum(1 for _ in file.decode(video=0)) == count

"""Objects that are replaced while a scan reads them: what is noted is of the bytes that were probed."""

import numpy as np
import pytest
from sqlalchemy import text

from service.plan.render_plan import ObjectRef
from service.store.objects.files import FileObjectStore, file_etag
from service.store.tables import frames, sources
from tests.support.data import media
from tests.support.data.dataset_folder import JPEG, DatasetFolder

pytestmark = pytest.mark.anyio


class ReplacedMeanwhile(FileObjectStore):
    """Before each of the first `times` reads, the object is replaced by the next of `contents`."""

    def __init__(self, lab: DatasetFolder, name: str, contents: list[bytes]) -> None:
        super().__init__(lab.objects.root, "reelmill")
        self.place, self.contents = lab.folder / name, contents

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        if self.contents:
            self.place.write_bytes(self.contents.pop(0))
        return await super().get(ref, start, stop, etag)


@pytest.mark.parametrize(("kind", "name"), [("frames", "a.jpg"), ("video", "a.mp4")])
async def test_what_is_noted_is_of_the_bytes_that_were_probed(lab: DatasetFolder, kind: str, name: str) -> None:
    """An object that is replaced between listing and probing is read again: its etag goes with its size in pixels."""
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = :kind"), {"kind": kind})

    def content(size: int) -> bytes:
        picture = np.full((size, size, 3), 90, np.uint8)
        return media.jpeg(picture) if kind == "frames" else media.video([picture] * 5)

    lab.write_at(name, content(32))
    lab.objects = ReplacedMeanwhile(lab, name, [content(48), content(64)])
    await lab.scan()
    (row,) = await lab.rows(frames if kind == "frames" else sources)
    status = (lab.folder / name).stat()
    assert (row["etag"], row["size"]) == (file_etag(status), status.st_size)
    assert (row["width"], row["problem"]) == (64, None)


@pytest.mark.parametrize(("kind", "name"), [("frames", "a.jpg"), ("video", "a.mp4")])
async def test_what_is_written_to_all_the_time_is_unreadable(lab: DatasetFolder, kind: str, name: str) -> None:
    async with lab.database.service_transaction() as connection:
        await connection.execute(text("UPDATE datasets SET kind = :kind"), {"kind": kind})
    lab.write_at(name, JPEG)
    lab.objects = ReplacedMeanwhile(lab, name, [JPEG + bytes(number) for number in range(1, 30)])
    summary = await lab.scan()
    assert (summary.state, summary.frame_count) == ("failed", 1 if kind == "frames" else 0)
    assert "scan again when it is finished" in (summary.error or "")


async def test_levels_are_of_the_frames_that_were_noted(lab: DatasetFolder) -> None:
    """A deep frame that is replaced after its header was read says nothing about the levels."""
    lab.write_at("a.tif", media.tiff(np.full((8, 8), 1000, np.uint16)))
    lab.write_at("b.tif", media.tiff(np.full((8, 8), 2000, np.uint16)))

    class Store(FileObjectStore):
        async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
            data = await super().get(ref, start, stop, etag)
            if stop is not None and ref.key.endswith("b.tif"):
                lab.write_at("b.tif", media.tiff(np.full((8, 8), 60_000, np.uint16)))
            return data

    lab.objects = Store(lab.objects.root, "reelmill")
    await lab.scan()
    levels = (await lab.row())["levels"]
    assert (levels["frames"], levels["high"]) == (1, 1000), levels

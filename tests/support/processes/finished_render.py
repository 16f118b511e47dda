"""A finished render whose objects a test damages."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from service.plan.render_plan import ObjectRef
from service.store.cache.segments import list_render_segments
from tests.support.patience import PATIENCE_S
from tests.support.processes.catalogue_api import CatalogueApi

FRAMES, FPS = 48, 12
DAMAGES = ("flipped", "cut", "empty", "zeros", "another's", "gone")
FILES = ("video", "poster", "receipt", "preview.jpg", "preview.vtt", "keogram.png")
OBJECTS = {"video": "video.mp4", "poster": "poster.jpg", "receipt": "receipt.ndjson"}
# Files may be made again only once a minute: let the last time be longer ago.
LET_TIME_PASS = (
    "UPDATE renders SET remade_at = remade_at - interval '1 hour'",
    "UPDATE segment_cache SET created_at = created_at - interval '1 hour'",
)


def damage(path: Path, how: str) -> None:
    """Damage an object in place."""
    data = path.read_bytes()
    middle = len(data) // 2
    match how:
        case "flipped":
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        case "cut":
            path.write_bytes(data[:middle])
        case "empty":
            path.write_bytes(b"")
        case "zeros":
            path.write_bytes(bytes(len(data)))
        case "another's":
            path.write_bytes(next(other for other in path.parent.iterdir() if other != path).read_bytes())
        case "gone":
            path.unlink()


@dataclass
class FinishedRender:
    """A finished render, with the contents of its files as they were first."""

    api: CatalogueApi
    client: httpx.AsyncClient
    body: dict[str, Any]
    dataset: Any
    job: str
    contents: dict[str, bytes]

    @property
    def bucket(self) -> Path:
        return Path(self.api.objects.root) / "reelmill"

    async def segment_files(self, suffix: str) -> list[Path]:
        async with self.api.database.service_transaction() as connection:
            segments = await list_render_segments(connection, UUID(self.job))
        return [self.bucket / segment.file(suffix).key for segment in segments]

    async def get(self, name: str, **headers: str) -> httpx.Response:
        return await self.client.get(f"/api/videos/{self.job}/{name}", headers=headers)

    async def submit(self) -> httpx.Response:
        return (await self.client.post("/api/videos/generate", json=self.body)).raise_for_status()

    def path(self, name: str) -> Path:
        """A file of the render."""
        return self.bucket / "renders" / self.job / name

    async def submit_anew(self) -> None:
        """Another render of the same segments: the one before is not found any more."""
        async with self.api.database.service_transaction() as connection:
            await connection.execute(text("UPDATE renders SET render_key = id::text"))
        answer = await self.submit()
        assert answer.status_code == 202 and answer.json()["job_id"] != self.job
        self.job = answer.json()["job_id"]

    async def let_time_pass(self) -> None:
        async with self.api.database.service_transaction() as connection:
            for statement in LET_TIME_PASS:
                await connection.execute(text(statement))

    async def wait(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status = (await self.client.get(f"/api/videos/{self.job}")).json()
                if status["status"] in ("succeeded", "failed", "cancelled"):
                    return dict(status)
                await asyncio.sleep(0.02)

    async def require_all_right(self) -> None:
        assert (await self.wait())["status"] == "succeeded"
        assert await read_files(self) == self.contents


async def read_files(render: FinishedRender) -> dict[str, bytes]:
    """The content of every file; of the receipt without its summary, which says what was made again."""
    found = {}
    for name in FILES:
        answer = await render.get(name)
        assert answer.status_code == 200, (name, answer.text)
        found[name] = answer.content.rpartition(b'\n{"summary"')[0] if name == "receipt" else answer.content
    return found


async def render_row(render: FinishedRender) -> Any:
    async with render.api.database.service_transaction() as connection:
        query = text("SELECT * FROM renders WHERE id = :job")
        return (await connection.execute(query, {"job": render.job})).mappings().one()


def video_ref(row: Any) -> ObjectRef:
    return ObjectRef("reelmill", row["video_key"])

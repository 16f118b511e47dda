"""What is full is waited for and told, on real small disks: objects, temporary files, PostgreSQL."""

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.embedded.postgres import EmbeddedPostgres
from service.processes.app import create_app
from service.store.database import Database
from service.store.objects.files import TEMP_FOLDER
from service.store.renders import queries
from service.store.schema import migrate
from service.store.settings import DatabaseSettings
from tests.routers.conftest import resources
from tests.support.data.database_rows import OPTIONS, add_dataset, add_render
from tests.support.data.footage import add_footage
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api
from tests.support.processes.small_disk import small_disk
from tests.support.processes.supervisor import running_supervisor, wait_for_status, wait_until_ended

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _configured_logging(log_lines: Callable[[], Any]) -> None:
    """Configure logging as in production: the default of structlog takes seconds to format tracebacks."""


async def told(api: CatalogueApi) -> tuple[str, dict[str, float]]:
    """What /health says of space, and the places that are full by /metrics."""
    async with api.client("root", "admin") as root:
        check = (await root.get("/health")).json()["checks"]["space"]
        lines = (await root.get("/metrics")).text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("reelmill_space_full{"))
    full = {name.split('"')[1]: float(value) for name, value in values.items()}
    assert (check["status"] == "degraded") == any(full.values())
    return check["detail"], full


@pytest.mark.parametrize(("place", "code"), [("object_store", "store_full"), ("scratch", "scratch_full")])
async def test_a_full_disk_is_waited_for(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, code: str
) -> None:
    """With growing gaps, as each attempt renders in vain; nothing half-written is left, and the render ends right."""
    with small_disk(tmp_path / "small", 4) as disk:
        home = disk.folder if place == "object_store" else tmp_path / "home"
        async with catalogue_api(postgres_url, home) as api:
            async with api.database.service_transaction() as connection:
                dataset = await add_footage(connection, home, 12)
                render = await add_render(connection, dataset, options=OPTIONS)
            assert await told(api) == ("nothing waits for space", {"object_store": 0, "scratch": 0, "database": 0})
            if place == "scratch":
                monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
            async with running_supervisor(api.database, home):
                disk.fill()
                await wait_for_status(api.database, render, lambda row: len(row["failed_attempts"]) >= 2)
                monkeypatch.undo()
                async with api.database.service_transaction() as connection:
                    (row,) = await queries.list_statuses(connection, [render])
                assert row["status"] == "running"
                assert {(failed["code"], failed["counted"]) for failed in row["failed_attempts"]} == {(code, False)}
                detail, full = await told(api)
                assert "no space left" in detail and {name for name, value in full.items() if value} == {place}
                disk.empty()
                row = await wait_until_ended(api.database, render)
            assert row["stored_bytes"] > row["video_bytes"], "what it takes, with its poster and receipt, is known"
            assert (row["status"], list((home / "objects" / TEMP_FOLDER).iterdir())) == ("succeeded", [])


async def test_an_upload_onto_a_full_disk_is_refused_whole(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "small", 4) as disk:
        async with catalogue_api(postgres_url, tmp_path) as api, api.client("alice") as alice:
            experiment = (await alice.post("/api/experiments", json={"name": "run"})).json()["id"]
            made = await alice.post(f"/api/experiments/{experiment}/datasets", json={"name": "camera"})
            path = f"/api/datasets/{made.json()['dataset']['id']}/objects"
            monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
            disk.fill()
            refused = await alice.put(f"{path}/a.jpg", content=bytes(3 << 20))
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
            assert "no space left" in refused.json()["detail"]
            assert (await alice.get(path)).json() == [] and (await alice.get("/api/usage")).json()["used_bytes"] == 0
            disk.empty()
            assert (await alice.put(f"{path}/a.jpg", content=bytes(3 << 20))).status_code == 200


def large(number: int) -> dict[str, object]:
    """An experiment whose row takes new pages, as its text cannot be compressed."""
    return {"name": f"run {number}", "metadata": {"text": secrets.token_hex(30_000)}}


async def test_a_full_disk_of_the_database_is_told(tmp_path: Path) -> None:
    """What is written is refused with the reason, what is read is answered, and all goes on when there is space."""
    with small_disk(tmp_path / "small", 160) as disk, EmbeddedPostgres(disk.folder) as url:
        await migrate(url)
        database = Database(url, DatabaseSettings())
        async with database.service_transaction() as connection:
            await add_dataset(connection, 10)
        app = create_app(resources(url))
        api = CatalogueApi(app, database, None)
        async with api.client("root", "admin") as root:
            assert (await told(api))[1]["database"] == 0
            disk.fill()
            refused = await root.post("/api/experiments", json=large(0))
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
            assert "no space left" in refused.json()["detail"]
            health = await root.get("/health")
            assert (health.status_code, health.json()["checks"]["database"]["status"]) == (200, "ok")
            detail, full = await told(api)
            assert "disk of the database is full" in detail and full["database"] == 1
            assert (await root.get("/api/experiments")).status_code == 200
            disk.empty()
            assert (await root.post("/api/experiments", json=large(99))).status_code == 201
            assert (await told(api))[1]["database"] == 0
        await database.close()

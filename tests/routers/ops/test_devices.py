"""GET /api/devices, and the devices in /health and /metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from service.processes.app import create_app
from service.store import workers
from service.store.database import Database
from tests.routers.conftest import resources
from tests.support.data.database_rows import capability_row, device_row
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
Token = Callable[..., dict[str, str]]


@asynccontextmanager
async def devices_api(server: str, headers: dict[str, str]) -> AsyncIterator[tuple[Database, httpx.AsyncClient]]:
    async with fresh_database(server) as database:
        app = create_app(resources(database.url))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            yield database, client
        await app.state.resources.database.close()


async def _insert_device_rows(database: Database, *rows: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    """Insert a live worker with these devices and capabilities."""
    async with database.service_transaction() as connection:
        await workers.record_heartbeat(connection, number := uuid4(), "bench:1", 2, "0")
        capabilities = [one for _, ones in rows for one in ones]
        await workers.write_devices(connection, number, [told for told, _ in rows], capabilities)


async def test_who_may_ask(postgres_url: str, token: Token) -> None:
    async with devices_api(postgres_url, token("catalog:read", "videos:read")) as (_, client):
        assert (await client.get("/api/devices")).status_code == 403
        assert (await client.get("/api/devices", headers={"Authorization": ""})).status_code == 401


async def test_without_workers(postgres_url: str, token: Token) -> None:
    async with devices_api(postgres_url, token("ops:read")) as (_, client):
        assert (await client.get("/api/devices")).json() == []
        missing = await client.get("/api/devices", params={"device": "cuda:0"})
        assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")
        assert (await client.get("/api/devices", params={"device": "gpu"})).status_code == 422
        check = (await client.get("/health")).json()["checks"]["devices"]
        assert (check["status"], check["detail"]) == ("absent", "no live worker has told of its devices")


async def test_what_is_told(postgres_url: str, token: Token) -> None:
    broken = capability_row("cuda:0", state="quarantined", reason="XID 79: it fell off the bus", faults=2)
    new = capability_row("cpu", stage="encode", what="av1", state="unknown", reason="not looked at yet", age=None)
    async with devices_api(postgres_url, token("ops:read")) as (database, client):
        await _insert_device_rows(
            database,
            (device_row("cpu"), [capability_row("cpu", rate=118.44), new]),
            (device_row("cuda:0", warning="throttled: power brake"), [broken]),
            (
                device_row("cuda:1", absent="no driver", model=None),
                [capability_row("cuda:1", state="absent", reason="none")],
            ),
        )
        told = {entry["device"]: entry for entry in (await client.get("/api/devices")).json()}
        assert {name: (entry["state"], entry["reason"]) for name, entry in told.items()} == {
            "cpu": ("unknown", None),
            "cuda:0": ("quarantined", "throttled: power brake"),
            "cuda:1": ("absent", "no driver"),
        }
        proven, fresh = told["cpu"]["capabilities"]
        assert (proven["state"], proven["reason"], proven["megapixels_per_second"]) == ("ok", None, 118.4)
        assert fresh["proven_seconds_ago"] is None and fresh["reason"] == "not looked at yet"
        assert told["cpu"]["figures"] == {"cores": 2, "energy_joules": None}
        assert told["cpu"]["unknown"] == {"energy_joules": "not told"}
        (only,) = (await client.get("/api/devices", params={"device": "cuda:0"})).json()
        assert only["capabilities"][0]["faults"] == 2
        check = (await client.get("/health")).json()["checks"]["devices"]
        assert (check["status"], check["detail"]) == (
            "degraded",
            "cpu: 1 of 2 capabilities proven; cuda:0: 1 of 1 capabilities proven, decode jpeg degraded or quarantined; "
            "cuda:1: absent",
        )
        assert (await client.get("/health")).json()["status"] == "degraded"


async def test_all_is_well(postgres_url: str, token: Token) -> None:
    async with devices_api(postgres_url, token("ops:read")) as (database, client):
        await _insert_device_rows(database, (device_row("cpu"), [capability_row("cpu")]))
        body = (await client.get("/health")).json()
        assert body["checks"]["devices"]["status"] == "ok"
        assert body["status"] == "healthy"

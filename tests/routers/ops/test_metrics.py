"""GET /metrics: requests by route, the queue, and the metrics of each worker."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from service.processes.app import create_app
from service.routers.ops.metrics import exposition
from service.store import workers
from service.store.database import Database
from service.store.workers import record_heartbeat, update_facts
from service.telemetry import metrics
from service.telemetry.metrics import collect_worker_metrics
from tests.routers.conftest import resources
from tests.support.data.database_rows import add_render
from tests.support.data.footage import add_footage
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


def parse_samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(database: Database, headers: dict[str, str]) -> dict[Any, float]:
    app = create_app(resources(database.url))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client:
        await client.get(f"/api/experiments/{uuid4()}")
        await client.get(f"/api/datasets/{uuid4()}/frames")
        answer = await client.get("/metrics")
    await app.state.resources.database.close()
    assert answer.status_code == 200, answer.text
    return parse_samples(answer.text)


async def test_a_render_shows(postgres_url: str, tmp_path: Path, token: Any) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            render = await add_render(connection, await add_footage(connection, tmp_path, 12))
            await connection.execute(text("UPDATE tasks SET created_at = now() - interval '90 seconds'"))
        waiting = await scrape(database, token("ops:read", "catalog:read"))
        queued = frozenset({("kind", "segment"), ("state", "queued")})
        assert waiting["reelmill_queue_depth", queued] == 1
        assert 90 <= waiting["reelmill_queue_oldest_seconds", queued] < 150
        for route in ("/api/experiments/{experiment_id}", "/api/datasets/{dataset_id}/frames"):
            labels = frozenset({("method", "GET"), ("route", route), ("status", "404")})
            assert waiting["reelmill_http_requests_total", labels] >= 1
        before = metrics.FRAMES_RENDERED._value.get()  # type: ignore[attr-defined]
        async with running_supervisor(database, tmp_path) as supervisor:
            assert (await wait_until_ended(database, render))["status"] == "succeeded"
            async with database.service_transaction() as connection:
                await update_facts(connection, supervisor.id, {"figures": collect_worker_metrics()})
            done = await scrape(database, token("ops:read"))
        worker = ("worker", supervisor.name)
        assert done["reelmill_frames_rendered_total", frozenset({worker})] == before + 12
        assert done["reelmill_estimate_ratio_count", frozenset({worker})] >= 1
        assert done["reelmill_estimate_ratio_bucket", frozenset({worker, ("le", "+Inf")})] >= 1
        succeeded = frozenset({worker, ("kind", "segment"), ("code", "ok"), ("outcome", "succeeded")})
        assert done["reelmill_attempts_total", succeeded] >= 1
        assert done["reelmill_cache_segments", frozenset()] == 1
        assert done["reelmill_bytes_fetched_total", frozenset({worker})] > 0
        assert done["reelmill_bytes_encoded_total", frozenset({worker})] > 0
        assert any(name == "reelmill_stage_seconds_total" and worker in labels for name, labels in done)
        assert ("reelmill_queue_depth", queued) not in done


async def test_what_workers_tell_is_kept_apart(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database, database.service_transaction() as connection:
        for name, value in (("a:1", 3), ("b:2", 5)):
            await record_heartbeat(connection, number := uuid4(), name, 1, "0")
            figure = {"name": "reelmill_fallbacks_total", "help": "h", "labels": {"stage": "decode"}, "value": value}
            await update_facts(connection, number, {"device": "cpu"})
            await update_facts(connection, number, {"figures": [figure]})
        told = parse_samples(exposition(await workers.list_worker_metrics(connection)).decode())
    assert {(dict(labels)["worker"], value) for (name, labels), value in told.items()} == {("a:1", 3), ("b:2", 5)}

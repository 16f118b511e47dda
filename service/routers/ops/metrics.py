"""GET /metrics: Prometheus metrics of this process, the queue and every live worker."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.identity.claims import allows
from service.jobs.queue import count_active_tasks
from service.routers.http.dependencies import NEEDS_TOKEN, ResourcesDep, identity, missing_scope_error
from service.routers.http.exception_mapping import is_database_unavailable
from service.store import dead_letters, space
from service.store.cache import segments
from service.store.consistency.rounds import read_findings
from service.store.database import Database
from service.store.usage import measure_totals
from service.store.workers import list_worker_metrics
from service.telemetry.metrics import (
    CACHE_BYTES,
    CACHE_SEGMENTS,
    DEAD_LETTERS,
    LOST_OBJECTS,
    ORPHAN_BYTES,
    ORPHAN_OBJECTS,
    QUEUE_AGE,
    QUEUE_DEPTH,
    REGISTRY,
    SPACE_FULL,
    STORED_BYTES,
)

router = APIRouter(tags=["operations"])
EXAMPLE_TEXT = """# HELP reelmill_queue_depth Tasks that wait or run
# TYPE reelmill_queue_depth gauge
reelmill_queue_depth{kind="segment",state="queued"} 12.0
"""
METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus text; counters of workers have the label `worker`",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE_TEXT}},
    }
}
WorkerMetrics = list[tuple[str, list[dict[str, Any]]]]


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses=METRICS_RESPONSES,
    openapi_extra=NEEDS_TOKEN,
)
async def metrics(request: Request, resources: ResourcesDep) -> Response:
    """Requires the scope `ops:read`, unless `REELMILL_METRICS_PUBLIC=1`. If the database is unavailable, the metrics of
    this process are still served."""
    if not resources.http.metrics_public and not allows((await identity(request)).scopes, "ops:read"):
        raise missing_scope_error("ops:read")
    workers = await _collect_metrics(resources.database)
    return Response(generate_latest(REGISTRY) + exposition(workers), media_type=CONTENT_TYPE_LATEST)


async def _collect_metrics(database: Database) -> WorkerMetrics:
    """Set the gauges of queue and space, and return the metrics of workers: none while the database is unavailable."""
    QUEUE_DEPTH.clear()
    QUEUE_AGE.clear()
    DEAD_LETTERS.clear()
    try:
        async with database.service_transaction() as connection:
            queues = await count_active_tasks(connection)
            workers = await list_worker_metrics(connection)
            dead = await dead_letters.count_by_code(connection)
            cache = await segments.cache_size(connection)
            stored = await measure_totals(connection)
            waits = await space.count_waits(connection)
            findings = (await read_findings(connection)).counts
        disk_full = await space.is_disk_full(database)
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        return []
    CACHE_SEGMENTS.set(cache[0])
    CACHE_BYTES.set(cache[1])
    ORPHAN_OBJECTS.set(findings.get("orphan_objects", 0))
    ORPHAN_BYTES.set(findings.get("orphan_bytes", 0))
    for kind in ("segments", "files"):
        LOST_OBJECTS.labels(kind).set(findings.get(f"lost_{kind}", 0))
    LOST_OBJECTS.labels("damaged").set(findings.get("damaged_segments", 0))
    for place in space.FULL_PLACES.values():
        SPACE_FULL.labels(place).set(place in waits)
    SPACE_FULL.labels("database").set(disk_full)
    for kind, size in stored.items():
        STORED_BYTES.labels(kind).set(size)
    for letters in dead:
        DEAD_LETTERS.labels(letters["lane"], letters["code"]).set(letters["count"])
    for queue in queues:
        QUEUE_DEPTH.labels(queue["kind"], queue["state"]).set(queue["count"])
        QUEUE_AGE.labels(queue["kind"], queue["state"]).set(queue["oldest_s"])
    return workers


class _WorkerCollector(Collector):
    """Exposes the metrics that workers have stored in the database."""

    def __init__(self, workers: WorkerMetrics) -> None:
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for worker, samples in self._workers:
            for sample in samples:
                name, kind = sample.get("family", sample["name"].removesuffix("_total")), sample.get("type", "counter")
                family = families.setdefault(name, Metric(name, sample["help"], kind))
                family.add_sample(sample["name"], sample["labels"] | {"worker": worker}, sample["value"])
        return iter(families.values())


def exposition(workers: WorkerMetrics) -> bytes:
    """The metrics of workers as Prometheus text, with the label `worker`."""
    registry = CollectorRegistry()
    registry.register(_WorkerCollector(workers))
    return generate_latest(registry)

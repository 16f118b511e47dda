"""GET /metrics: Prometheus metrics of this process, the queue and every live worker."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from service.identity.claims import allows
from service.routers.http.dependencies import ResourcesDep, identity, missing_scope_error
from service.routers.http.exception_mapping import is_database_unavailable
from service.store import workers as worker_rows
from service.store.cache import segments
from service.store.database import Database
from service.store.tables import tasks
from service.telemetry.metrics import CACHE_BYTES, CACHE_SEGMENTS, QUEUE_AGE, QUEUE_DEPTH, REGISTRY

router = APIRouter(tags=["operations"])
ACTIVE_STATES = ("queued", "running")
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
    openapi_extra={"security": [{"bearer": []}]},
)
async def metrics(request: Request, resources: ResourcesDep) -> Response:
    """Needs `ops:read`, unless `REELMILL_METRICS_PUBLIC=1`. Without a database, what this process counted is served
    all the same."""
    if not resources.http.metrics_public and not allows((await identity(request)).scopes, "ops:read"):
        raise missing_scope_error("ops:read")
    workers = await _collect_metrics(resources.database)
    return Response(generate_latest(REGISTRY) + exposition(workers), media_type=CONTENT_TYPE_LATEST)


async def _collect_metrics(database: Database) -> WorkerMetrics:
    """Ask for the queue and the workers; nothing when the database is away."""
    age = func.extract("epoch", func.now() - func.min(tasks.c.created_at))
    counted = select(tasks.c.kind, tasks.c.state, func.count(), age).where(tasks.c.state.in_(ACTIVE_STATES))
    QUEUE_DEPTH.clear()
    QUEUE_AGE.clear()
    try:
        async with database.service_transaction() as connection:
            rows = (await connection.execute(counted.group_by(tasks.c.kind, tasks.c.state))).all()
            workers = await worker_rows.list_worker_metrics(connection)
            cached = await segments.cache_size(connection)
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        return []
    CACHE_SEGMENTS.set(cached[0])
    CACHE_BYTES.set(cached[1])
    for kind, state, count, seconds in rows:
        QUEUE_DEPTH.labels(kind, state).set(count)
        QUEUE_AGE.labels(kind, state).set(float(seconds))
    return workers


class _WorkerCollector(Collector):
    """Counters and histograms that were read elsewhere."""

    def __init__(self, workers: WorkerMetrics) -> None:
        self._workers = workers

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for worker, figures in self._workers:
            for figure in figures:
                name, kind = figure.get("family", figure["name"].removesuffix("_total")), figure.get("type", "counter")
                family = families.setdefault(name, Metric(name, figure["help"], kind))
                family.add_sample(figure["name"], figure["labels"] | {"worker": worker}, figure["value"])
        return iter(families.values())


def exposition(workers: WorkerMetrics) -> bytes:
    """The workers' figures as Prometheus text, each with the label `worker`."""
    registry = CollectorRegistry()
    registry.register(_WorkerCollector(workers))
    return generate_latest(registry)

"""GET /metrics, for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import func, select

from service.identity.scopes import allows
from service.routers.deps import ResourcesDep, identity, missing
from service.routers.faults import database_away
from service.routers.problems import described
from service.store.database import Database
from service.store.tables import tasks
from service.telemetry.metrics import QUEUE_DEPTH, REGISTRY

router = APIRouter(tags=["operations"])
WAITING = ("queued", "running")


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response, responses=described(401, 403))
async def metrics(request: Request, at: ResourcesDep) -> Response:
    """Needs `ops:read`, unless `REELMILL_METRICS_PUBLIC=1`."""
    if not at.http.metrics_public and not allows((await identity(request)).scopes, "ops:read"):
        raise missing("ops:read")
    await _measure_queue(at.database)
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


async def _measure_queue(database: Database) -> None:
    """Ask for the depth of the queue; without a database the other figures are served all the same."""
    counted = select(tasks.c.kind, tasks.c.state, func.count()).where(tasks.c.state.in_(WAITING))
    QUEUE_DEPTH.clear()
    try:
        async with database.service() as connection:
            rows = (await connection.execute(counted.group_by(tasks.c.kind, tasks.c.state))).all()
    except Exception as error:
        if not database_away(error):
            raise
        return
    for kind, state, count in rows:
        QUEUE_DEPTH.labels(kind, state).set(count)

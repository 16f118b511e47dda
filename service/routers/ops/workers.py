"""The workers of the fleet, and orders to them: /api/workers."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping

from service.routers.http.dependencies import CallerDep, DatabaseDep, require_scope
from service.routers.http.problems import error_responses
from service.store import fleet
from service.store.database import Caller, Database
from service.store.workers import WorkerState

log = structlog.get_logger("service.workers")
router = APIRouter(prefix="/api/workers", tags=["operations"])
REQUIRE_READ, REQUIRE_WRITE = Depends(require_scope("ops:read")), Depends(require_scope("ops:write"))
EXAMPLE_WORKER: dict[str, Any] = {
    "id": "0197a3c2-b1f0-7aa1-8c63-9e0d5a1f2b44",
    "name": "render-1:4711",
    "zone": "eu-1a",
    "version": "0.1.0",
    "pipeline": 8,
    "state": "active",
    "slots": 8,
    "running": 3,
    "capabilities": ["decode jpeg", "encode av1", "encode h264"],
    "memory_mb": 64_000,
    "trouble": None,
    "clock_offset_seconds": 0.1,
    "started_at": "2026-03-01T11:00:05Z",
    "seen_seconds_ago": 1.3,
}


class Worker(BaseModel):
    """A worker that sent a heartbeat within five minutes."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_WORKER]})
    id: UUID
    name: str = Field(description="machine and process id")
    zone: str = Field(description="its `REELMILL_ZONE`")
    version: str
    pipeline: int = Field(description="version of the pipeline: it takes no tasks of renders of a newer one")
    state: Literal["active", "cordoned", "draining", "lost"] = Field(
        description="`cordoned`: takes no new tasks; `draining`: also ends when it has none left; `lost`: has sent no "
        "heartbeat for 15 s"
    )
    slots: int
    running: int = Field(description="tasks that it runs")
    capabilities: list[str] | None = Field(description="what tasks may need and it offers; null if it does not say")
    memory_mb: int | None = Field(description="memory of the machine, MiB")
    trouble: str | None = Field(description="why it takes no tasks for a while", examples=[None])
    clock_offset_seconds: float | None = Field(description="how far its clock is ahead of the database's")
    started_at: datetime
    seen_seconds_ago: float = Field(description="age of its last heartbeat")

    @classmethod
    def from_row(cls, row: RowMapping) -> Self:
        facts = fleet.worker_facts(row)
        names = ("id", "name", "version", "pipeline", "state", "slots", "running", "started_at")
        return cls(
            **{name: row[name] for name in names},
            zone=facts["zone"],
            capabilities=facts["offers"],
            memory_mb=facts["memory_mb"],
            trouble=facts["trouble"] or None,
            clock_offset_seconds=facts["clock_offset_s"],
            seen_seconds_ago=round(row["age"], 1),
        )


WorkerId = Annotated[UUID, Path(description="id of the worker, as `GET /api/workers` lists it")]


@router.get("", summary="The workers of the fleet", dependencies=[REQUIRE_READ])
async def list_workers(database: DatabaseDep) -> list[Worker]:
    """Every worker that sent a heartbeat within five minutes: where it is, what it can do, and whether it takes
    tasks."""
    async with database.service_transaction() as connection:
        return [Worker.from_row(row) for row in await fleet.list_workers(connection)]


@router.post(
    "/{worker_id:uuid}/cordon",
    summary="Give a worker no new tasks",
    responses=error_responses(404, 409),
    dependencies=[REQUIRE_WRITE],
)
async def cordon_worker(worker_id: WorkerId, caller: CallerDep, database: DatabaseDep) -> Worker:
    """From now on the worker takes no task; it finishes those that it runs. Answers 409 if it drains or is lost."""
    return await _change_state(database, caller, worker_id, "cordoned")


@router.post(
    "/{worker_id:uuid}/uncordon",
    summary="Give a worker tasks again",
    responses=error_responses(404, 409),
    dependencies=[REQUIRE_WRITE],
)
async def uncordon_worker(worker_id: WorkerId, caller: CallerDep, database: DatabaseDep) -> Worker:
    """The opposite of cordon. Answers 409 if the worker drains or is lost."""
    return await _change_state(database, caller, worker_id, "active")


@router.post(
    "/{worker_id:uuid}/drain",
    summary="Let a worker finish and end",
    responses=error_responses(404, 409),
    dependencies=[REQUIRE_WRITE],
)
async def drain_worker(worker_id: WorkerId, caller: CallerDep, database: DatabaseDep) -> Worker:
    """The worker takes no task any more. It notices within seconds, gives its running tasks `REELMILL_SHUTDOWN_TIMEOUT`
    seconds, and ends with exit code 0; what is left is done by others. It cannot be undone."""
    return await _change_state(database, caller, worker_id, "draining")


async def _change_state(database: Database, caller: Caller, worker: UUID, state: WorkerState) -> Worker:
    async with database.service_transaction() as connection:
        row = await fleet.change_state(connection, worker, state)
    log.info("a worker is told what to do", worker=row["name"], state=state, subject=caller.subject)
    return Worker.from_row(row)

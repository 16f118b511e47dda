"""GET /health: what this service needs, asked now, each with its own time limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping, text

from service.agent.presence import look
from service.routers.deps import ResourcesDep
from service.routers.resources import Resources
from service.store.device_rows import counted
from service.store.worker_rows import live_slots

log = structlog.get_logger("service.health")
router = APIRouter(tags=["health"])
VITAL = ("database", "object_store", "ollama")


class Check(BaseModel):
    """One thing that was asked."""

    status: Literal["ok", "degraded", "failed", "absent"] = Field(description="`absent`: not configured, not needed")
    latency_ms: float = Field(examples=[1.9])
    detail: str = Field(examples=["answered"])


class Health(BaseModel):
    """`unhealthy` (503) when the database, the object store or a configured Ollama fails."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "healthy",
                    "checks": {"database": {"status": "ok", "latency_ms": 1.9, "detail": "answered"}},
                    "version": "0.1.0",
                }
            ]
        }
    )
    status: Literal["healthy", "degraded", "unhealthy"]
    checks: dict[str, Check]
    version: str


class Alive(BaseModel):
    status: Literal["alive"] = "alive"


Answer = tuple[Literal["ok", "degraded", "absent"], str]
UNHEALTHY: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Something vital does not answer"}}


class Checks:
    """The checks under way: who asks while one runs gets its answer, so that many askers are no load."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[Check]] = {}

    async def ask(self, at: Resources, *names: str) -> dict[str, Check]:
        """Now, and all at the same time."""
        return dict(zip(names, await asyncio.gather(*(self._one(name, at) for name in names)), strict=True))

    async def _one(self, name: str, at: Resources) -> Check:
        task = self._under_way.get(name)
        if task is None or task.done():
            task = self._under_way[name] = asyncio.create_task(_timed(name, at, at.http.health_timeout_s))
        return await asyncio.shield(task)


async def checks_of(request: Request) -> Checks:
    found: Checks = request.app.state.checks
    return found


ChecksDep = Annotated[Checks, Depends(checks_of)]


@router.get("/health", summary="Is everything there that the service needs?", responses=UNHEALTHY)
async def health(at: ResourcesDep, checks: ChecksDep, response: Response) -> Health:
    """Checks the database, the object store, Ollama, the workers and the devices, at the same time."""
    return _report(await checks.ask(at, "database", "object_store", "ollama", "workers", "devices"), at, response)


@router.get("/health/live", summary="Does the process answer?")
async def live() -> Alive:
    """For orchestrators: restart the process when this fails."""
    return Alive()


@router.get("/health/ready", summary="Can requests be served?", responses=UNHEALTHY)
async def ready(at: ResourcesDep, checks: ChecksDep, response: Response) -> Health:
    """For load balancers: the database and the object store only."""
    return _report(await checks.ask(at, "database", "object_store"), at, response)


async def _timed(name: str, at: Resources, limit_s: float) -> Check:
    """One check, whatever happens in it; the reason of a failure goes to the log, not to the public."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(limit_s):
            status, detail = await _CHECKS[name](at)
    except TimeoutError:
        return Check(status="failed", latency_ms=_elapsed_ms(started), detail=f"no answer within {limit_s:g} s")
    except Exception as error:
        log.warning("health_check_failed", check=name, reason=repr(error))
        return Check(status="failed", latency_ms=_elapsed_ms(started), detail="not reachable; the log has the reason")
    return Check(status=status, latency_ms=_elapsed_ms(started), detail=detail)


def _report(checks: dict[str, Check], at: Resources, response: Response) -> Health:
    status: Literal["healthy", "degraded", "unhealthy"] = "healthy"
    if any(check.status in {"degraded", "failed"} for check in checks.values()):
        status = "degraded"
    if any(checks[name].status == "failed" for name in VITAL if name in checks):
        status, response.status_code = "unhealthy", 503
    response.headers["Cache-Control"] = "no-store"
    return Health(status=status, checks=checks, version=at.version)


def _elapsed_ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


async def _database(at: Resources) -> Answer:
    async with at.database.apart() as connection:
        await connection.execute(text("SELECT 1"))
    return "ok", "answered"


async def _object_store(at: Resources) -> Answer:
    await at.objects.check()
    return "ok", "answered"


async def _ollama(at: Resources) -> Answer:
    if not at.ollama_host:
        return "absent", "OLLAMA_HOST is not set"
    found = await look(at.ollama_host, at.agent)
    return ("degraded", found.hint()) if found.missing else ("ok", f"version {found.version}")


async def _workers(at: Resources) -> Answer:
    async with at.database.apart() as connection:
        slots = await live_slots(connection)
    return ("ok", f"{slots} slots") if slots else ("degraded", "none alive: renders wait in the queue")


async def _devices(at: Resources) -> Answer:
    """Of all live workers. What no canary has told of yet is named, and no fault."""
    async with at.database.apart() as connection:
        rows = await counted(connection)
    if not rows:
        return "absent", "no live worker has told of its devices"
    faulty = any(row["faulty"] for row in rows)
    return "degraded" if faulty else "ok", "; ".join(map(_device, rows))


def _device(row: RowMapping) -> str:
    if row["absent"]:
        return f"{row['device']}: absent"
    proven = row["capabilities"] - row["unknown"]
    told = f"{row['device']}: {proven} of {row['capabilities']} capabilities proven"
    return f"{told}, {', '.join(row['faulty'])} degraded or quarantined" if row["faulty"] else told


_CHECKS: dict[str, Callable[[Resources], Awaitable[Answer]]] = {
    "database": _database,
    "object_store": _object_store,
    "ollama": _ollama,
    "workers": _workers,
    "devices": _devices,
}

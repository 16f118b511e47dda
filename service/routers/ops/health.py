"""GET /health: check the services that this process depends on, each with its own timeout.

Anybody may ask, so an answer without a token costs no work and tells little; those with `ops:read` get all."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import RowMapping, text

from service.agent.ollama_client import probe_ollama
from service.errors import ServiceUnavailable, Unauthenticated
from service.identity.claims import allows
from service.routers.authentication.credentials import authenticate, has_bearer_token
from service.routers.authentication.origins import CrossSiteRequest
from service.routers.http.dependencies import OPTIONAL_TOKEN, Resources, ResourcesDep
from service.routers.http.single_flight import SharedTasks
from service.store.consistency.rounds import read_findings
from service.store.fleet import Fleet, summarize_fleet
from service.store.space import count_waits, is_disk_full
from service.store.workers import summarize_devices

log = structlog.get_logger("service.health")
router = APIRouter(tags=["health"])
READY_CHECKS = ("database", "object_store")
REQUIRED_CHECKS = (*READY_CHECKS, "ollama")
ALL_CHECKS = (*REQUIRED_CHECKS, "space", "consistency", "workers", "devices")
# Less free space than this is told before it is too late; of temporary files, uploads need the most.
LOW_SPACE_BYTES, LOW_SCRATCH_BYTES = 512 << 20, 64 << 20
# How old the report may be that callers without a token share.
MAX_AGE_S = 1.0


class Check(BaseModel):
    """The result of one check. Without `ops:read` only its status, and what failed."""

    status: Literal["ok", "degraded", "failed", "absent"] = Field(description="`absent`: not configured, or not needed")
    latency_ms: float | None = Field(default=None, description="only with `ops:read`", examples=[1.9])
    detail: str | None = Field(default=None, description="with `ops:read`, or if it failed", examples=["answered"])

    def without_details(self) -> "Check":
        """What anybody may know. The reason of a failure names nothing of the installation."""
        return Check(status=self.status, detail=self.detail if self.status == "failed" else None)


class Health(BaseModel):
    """`unhealthy` (503) if the database, the object store or a configured Ollama fails."""

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
    checks: dict[str, Check] = Field(description="without `ops:read`: the required ones, without details")
    version: str | None = Field(default=None, description="only with `ops:read`")


class Alive(BaseModel):
    """The process answers requests."""

    status: Literal["alive"] = "alive"


CheckResult = tuple[Literal["ok", "degraded", "absent"], str]
UNHEALTHY_RESPONSES: dict[int | str, dict[str, Any]] = {
    503: {"model": Health, "description": "A required service does not answer"}
}


class HealthChecks:
    """Runs the checks. Concurrent requests share one running check, so that many requests add no load."""

    def __init__(self) -> None:
        self._running = SharedTasks[str, Check]()
        self._recent = SharedTasks[tuple[str, ...], dict[str, Check]](MAX_AGE_S)

    async def run(self, resources: Resources, names: tuple[str, ...], *, fresh: bool) -> dict[str, Check]:
        """The results of these checks. Unless they have to be `fresh`, they may be MAX_AGE_S seconds old."""
        if fresh:
            return await self._run_together(resources, names)
        return await self._recent.run(names, partial(self._run_together, resources, names))

    async def _run_together(self, resources: Resources, names: tuple[str, ...]) -> dict[str, Check]:
        timeout_s = resources.http.health_timeout_s
        runs = (self._running.run(name, partial(_run_check, name, resources, timeout_s)) for name in names)
        return dict(zip(names, await asyncio.gather(*runs), strict=True))


async def get_checks(request: Request) -> HealthChecks:
    checks: HealthChecks = request.app.state.checks
    return checks


async def may_see_details(request: Request, resources: ResourcesDep) -> bool:
    """Whether the request has a token with `ops:read`. Raises Unauthenticated for a header that is not good; a browser
    sends its cookie without being asked.

    A token that cannot be verified now has no rights: the report must not fail when the issuer of tokens does.
    """
    try:
        identity = await authenticate(request.scope, resources.verifier, resources.public_url)
    except ServiceUnavailable:
        return False
    except (Unauthenticated, CrossSiteRequest):
        if has_bearer_token(request.scope):
            raise
        return False
    if identity is None:
        return False
    request.state.identity = identity
    return allows(identity.scopes, "ops:read")


ChecksDep = Annotated[HealthChecks, Depends(get_checks)]
DetailsDep = Annotated[bool, Depends(may_see_details)]


@router.get(
    "/health",
    summary="Is everything there that the service needs?",
    response_model_exclude_none=True,
    responses=UNHEALTHY_RESPONSES,
    openapi_extra=OPTIONAL_TOKEN,
)
async def health(resources: ResourcesDep, checks: ChecksDep, details: DetailsDep, response: Response) -> Health:
    """Checks the database, the object store, Ollama, space, the workers and the devices concurrently. Without a token,
    the answer may be a second old, and has the status of what the service needs; with a token that has `ops:read`, also
    workers, devices, latencies and versions."""
    results = await checks.run(resources, ALL_CHECKS, fresh=details)
    return _build_report(results, resources, response, details=details)


@router.get("/health/live", summary="Does the process answer?")
async def live() -> Alive:
    """For orchestrators: restart the process if this fails."""
    return Alive()


@router.get(
    "/health/ready",
    summary="Can requests be served?",
    response_model_exclude_none=True,
    responses=UNHEALTHY_RESPONSES,
    openapi_extra=OPTIONAL_TOKEN,
)
async def ready(resources: ResourcesDep, checks: ChecksDep, details: DetailsDep, response: Response) -> Health:
    """For load balancers: checks only the database and the object store, at most once a second without a token."""
    results = await checks.run(resources, READY_CHECKS, fresh=details)
    return _build_report(results, resources, response, details=details)


async def _run_check(name: str, resources: Resources, timeout_s: float) -> Check:
    """Run one check; every exception becomes a failed check. The reason is logged, not returned."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_s):
            status, detail = await _CHECKS[name](resources)
    except TimeoutError:
        return Check(status="failed", latency_ms=_elapsed_ms(started), detail=f"no answer within {timeout_s:g} s")
    except Exception as error:
        log.warning("health_check_failed", check=name, reason=repr(error))
        return Check(status="failed", latency_ms=_elapsed_ms(started), detail="not reachable; the log has the reason")
    return Check(status=status, latency_ms=_elapsed_ms(started), detail=detail)


def _build_report(checks: dict[str, Check], resources: Resources, response: Response, *, details: bool) -> Health:
    status: Literal["healthy", "degraded", "unhealthy"] = "healthy"
    if any(check.status in {"degraded", "failed"} for check in checks.values()):
        status = "degraded"
    if any(checks[name].status == "failed" for name in REQUIRED_CHECKS if name in checks):
        status, response.status_code = "unhealthy", 503
    response.headers["Cache-Control"] = "no-store"
    if details:
        return Health(status=status, checks=checks, version=resources.version)
    return Health(
        status=status,
        checks={name: checks[name].without_details() for name in REQUIRED_CHECKS if name in checks},
    )


def _elapsed_ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


async def _check_database(resources: Resources) -> CheckResult:
    async with resources.database.health_connection() as connection:
        await connection.execute(text("SELECT 1"))
    return "ok", "answered"


async def _check_object_store(resources: Resources) -> CheckResult:
    await resources.objects.check()
    free = await resources.objects.free_bytes()
    if free is not None and free < LOW_SPACE_BYTES:
        return "degraded", f"{free >> 20} MiB are free in REELMILL_HOME: renders wait when there is no space left"
    return "ok", "answered"


PLACES = {
    "object_store": "the object store has no space left",
    "scratch": "a worker has no space left for temporary files (TMPDIR)",
}


async def _check_space(resources: Resources) -> CheckResult:
    """Whether something waits for space. The database's disk is tried; the others are known from what failed."""
    problems = []
    if await is_disk_full(resources.database):
        problems.append("the disk of the database is full: nothing can be written")
    async with resources.database.health_connection() as connection:
        waits = await count_waits(connection)
    problems += [f"{PLACES[place]}: {count} attempts failed lately" for place, count in waits.items()]
    free = (await asyncio.to_thread(shutil.disk_usage, tempfile.gettempdir())).free
    if free < LOW_SCRATCH_BYTES:
        problems.append(f"{free >> 20} MiB are free for temporary files of the API (TMPDIR)")
    return ("degraded", "; ".join(problems)) if problems else ("ok", "nothing waits for space")


FINDINGS = {
    "orphan_objects": "objects belong to nothing",
    "lost_segments": "cached segments are gone",
    "damaged_segments": "cached segments of a sample are damaged",
    "lost_files": "files of a sample of renders are gone",
}


async def _check_consistency(resources: Resources) -> CheckResult:
    """What workers have found that compare bucket and database."""
    async with resources.database.health_connection() as connection:
        findings = await read_findings(connection)
    if problems := findings.problems:
        told = ", ".join(f"{count} {FINDINGS[name]}" for name, count in problems.items())
        return "degraded", f"{told}: see `reelmill fsck`"
    return "ok", f"compared, last at {findings.finished_at:%Y-%m-%d %H:%M}" if findings.finished_at else "first round"


async def _check_ollama(resources: Resources) -> CheckResult:
    if not resources.ollama_host:
        return "absent", "OLLAMA_HOST is not set"
    status = await probe_ollama(resources.ollama_host, resources.agent)
    return ("degraded", status.pull_hint()) if status.missing_models else ("ok", f"version {status.version}")


async def _check_workers(resources: Resources) -> CheckResult:
    async with resources.database.health_connection() as connection:
        fleet = await summarize_fleet(connection)
    if not fleet.workers:
        return "degraded", "none alive: renders wait in the queue"
    problems = list(_fleet_problems(fleet))
    orders = [f"{what}: {', '.join(names)}" for what, names in (("cordoned", fleet.cordoned),) if names]
    return "degraded" if problems else "ok", "; ".join([f"{fleet.slots} slots", *orders, *problems])


def _fleet_problems(fleet: Fleet) -> Iterator[str]:
    """What an operator has to mend, or should know before he waits."""
    if not fleet.slots:
        yield "no worker takes tasks: renders wait in the queue"
    if fleet.outdated:
        yield f"of an older version, take no new renders: {', '.join(fleet.outdated)}"
    if fleet.draining:
        yield f"drain, and end then: {', '.join(fleet.draining)}"
    for name, seconds in fleet.clocks.items():
        yield f"the clock of {name} is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
    for name, trouble in fleet.troubles.items():
        yield f"{name} takes no tasks: {trouble}"
    for reason, count in fleet.stranded.items():
        yield f"waiting renders: {count} ({reason})"


async def _check_devices(resources: Resources) -> CheckResult:
    """Check the devices of all live workers. Untested capabilities are reported, but are no fault."""
    async with resources.database.health_connection() as connection:
        rows = await summarize_devices(connection)
    if not rows:
        return "absent", "no live worker has told of its devices"
    faulty = any(row["faulty"] for row in rows)
    return "degraded" if faulty else "ok", "; ".join(map(_describe_device, rows))


def _describe_device(row: RowMapping) -> str:
    if row["absent"]:
        return f"{row['device']}: absent"
    proven = row["capabilities"] - row["unknown"]
    summary = f"{row['device']}: {proven} of {row['capabilities']} capabilities proven"
    return f"{summary}, {', '.join(row['faulty'])} degraded or quarantined" if row["faulty"] else summary


_CHECKS: dict[str, Callable[[Resources], Awaitable[CheckResult]]] = {
    "database": _check_database,
    "object_store": _check_object_store,
    "ollama": _check_ollama,
    "space": _check_space,
    "consistency": _check_consistency,
    "workers": _check_workers,
    "devices": _check_devices,
}

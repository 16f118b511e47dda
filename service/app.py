"""The composition root of the API: middleware, routers, documentation. No torch, no codec, no kernels."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from service.guard.ask import Guard
from service.routers import (
    datasets,
    experiments,
    generate,
    health,
    metrics,
    problems,
    queries,
    uploads,
    video_events,
    video_files,
    video_streams,
    videos,
)
from service.routers.authentication import PUBLIC, Authentication
from service.routers.body_limit import BodyLimit
from service.routers.resources import HttpSettings, Resources
from service.telemetry.access import AccessLog

API_ROUTERS: tuple[APIRouter, ...] = (
    experiments.router,
    datasets.router,
    generate.router,
    videos.router,
    video_events.router,
    video_files.router,
    video_streams.router,
    queries.router,
)
"""Everything under /api; each of their routes may answer with these problems."""
API_PROBLEMS = problems.described(401, 403, 404, 405, 413, 415, 422, 500, 503)


class ReelmillApi(FastAPI):
    """FastAPI whose OpenAPI document knows the shape of our problems."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schemas.update(problems.schemas())
        return document


def create_app(resources: Resources) -> FastAPI:
    """The whole API over open `resources`, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await resources.objects.close()
            await resources.database.close()

    app = ReelmillApi(
        title="Reelmill",
        summary="Camera frames and source videos in, videos out",
        version=resources.version,
        middleware=_middleware(resources),
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.resources = resources
    app.state.guard = Guard(resources.database, resources.queries)
    problems.install(app)
    for router in (health.router, metrics.router):
        app.include_router(router)
    for router in API_ROUTERS:
        app.include_router(router, responses=API_PROBLEMS)
    return app


def _middleware(resources: Resources) -> list[Middleware]:
    """Outermost first."""
    return [
        Middleware(AccessLog),
        Middleware(problems.ProblemBoundary),
        Middleware(Authentication, verifier=resources.verifier, public=_public(resources.http)),
        Middleware(BodyLimit, limit=resources.http.max_body_bytes, streamed=uploads.PATHS),
    ]


def _public(settings: HttpSettings) -> re.Pattern[str]:
    return re.compile(f"{PUBLIC.pattern}|/metrics") if settings.metrics_public else PUBLIC

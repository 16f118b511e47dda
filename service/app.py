"""The composition root of the API: middleware, routers, documentation. No torch, no codec, no kernels."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware

from service.agent.agent import Agent
from service.agent.models import LanguageModels
from service.agent.presence import log_availability
from service.guard.ask import Guard
from service.identity.tokens import TokenVerifier
from service.routers import (
    agent,
    datasets,
    devices,
    docs,
    experiments,
    generate,
    health,
    metrics,
    problem_pages,
    problems,
    queries,
    uploads,
    video_events,
    video_extras,
    video_files,
    video_streams,
    videos,
)
from service.routers.authentication import PUBLIC_PATHS, Authentication
from service.routers.body_limit import BodyLimit
from service.routers.followed import StatusPoller
from service.routers.head import HeadAsGet
from service.routers.negotiation import require_json_acceptable
from service.routers.openapi.native import complete_document
from service.routers.rate_limit import RateLimit
from service.routers.resources import HttpSettings, Resources
from service.telemetry.access import AccessLogMiddleware

API_ROUTERS: tuple[APIRouter, ...] = (
    experiments.router,
    datasets.router,
    generate.router,
    videos.router,
    video_events.router,
    video_files.router,
    video_extras.artifact_router,
    video_streams.router,
    queries.router,
    agent.router,
    devices.router,
)
"""Everything under /api."""
DESCRIPTION = """Send `Authorization: Bearer <JWT>`. Every error is `application/problem+json` (RFC 9457); its `type` is
an address of this service that explains it, its `error_id` finds the log line. Lists are JSON arrays whose `Link`
header has the next page."""


class ReelmillApi(FastAPI):
    """FastAPI whose OpenAPI document tells what the layers around the routes do."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            complete_document(super().openapi())
        return super().openapi()


def create_app(resources: Resources) -> FastAPI:
    """The whole API over open `resources`, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await log_availability(resources.ollama_host, resources.agent)
        try:
            yield
        finally:
            await app.state.agent.models.close()
            await resources.objects.close()
            await resources.database.close()

    app = ReelmillApi(
        title="Reelmill",
        summary="Camera frames and source videos in, videos out",
        description=DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        version=resources.version,
        middleware=middleware_stack(resources.verifier, resources.http),
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.resources = resources
    app.state.checks = health.HealthChecks()
    app.state.followed = StatusPoller()
    app.state.guard = Guard(resources.database, resources.queries)
    app.state.agent = Agent(app.state.guard, LanguageModels(resources.ollama_host, resources.agent), resources.agent)
    problems.install_error_handlers(app)
    for router in (health.router, metrics.router, docs.router, problem_pages.router):
        app.include_router(router)
    for router in API_ROUTERS:
        app.include_router(router, dependencies=[Depends(require_json_acceptable)])
    return app


def middleware_stack(verifier: TokenVerifier, http: HttpSettings) -> list[Middleware]:
    """What every request goes through, outermost first."""
    return [
        Middleware(AccessLogMiddleware),
        Middleware(HeadAsGet),
        Middleware(problems.ProblemBoundary),
        Middleware(Authentication, verifier=verifier, public=_public_paths(http)),
        Middleware(RateLimit, rate=http.rate_limit),
        Middleware(BodyLimit, limit=http.max_body_bytes, exempt=uploads.UPLOAD_PATHS),
    ]


def _public_paths(settings: HttpSettings) -> re.Pattern[str]:
    return re.compile(f"{PUBLIC_PATHS.pattern}|/metrics") if settings.metrics_public else PUBLIC_PATHS

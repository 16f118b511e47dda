"""The FastAPI application: middleware, routers and documentation. It imports neither torch nor codecs nor kernels."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware

from service.agent.agent import Agent
from service.agent.ollama_client import LanguageModels, log_availability
from service.guard.guard import Guard
from service.identity.tokens import TokenVerifier
from service.periodic import run_periodically
from service.routers import queries, session, sign_in, studio
from service.routers.agent import routes as agent
from service.routers.authentication.credentials import PUBLIC_PATHS, Authentication
from service.routers.catalog import (
    bucket_events,
    bundles,
    datasets,
    experiments,
    follow,
    signed_uploads,
    uploads,
    usage,
)
from service.routers.http import problem_types, problems
from service.routers.http.content_negotiation import require_json_acceptable
from service.routers.http.dependencies import Resources
from service.routers.http.middleware import BodyLimit, BodyRule, HeadAsGet, UrlLimit
from service.routers.http.rate_limit import AddressLimit, EventStreamLimit, RateLimit
from service.routers.openapi import docs
from service.routers.openapi.document_31 import complete_document
from service.routers.ops import dead_letters, devices, health, metrics, workers, workload
from service.routers.pictures import (
    frame_arrays,
    frame_images,
    frame_samples,
    render_previews,
    thumbnails,
    video_frames,
)
from service.routers.schedules import routes as schedule_routes
from service.routers.schedules.runner import ScheduleRunner
from service.routers.settings import HttpSettings
from service.routers.videos import batch, events, files, generate, hls, latest, presets, renders, webhook_secrets
from service.routers.videos.events import StatusPoller
from service.telemetry.request_log import AccessLogMiddleware

# The routers of all paths under /api.
API_ROUTERS: tuple[APIRouter, ...] = (
    session.router,
    sign_in.router,
    experiments.router,
    datasets.router,
    follow.router,
    bucket_events.router,
    uploads.router,
    bundles.router,
    signed_uploads.router,
    frame_images.router,
    frame_samples.router,
    frame_arrays.router,
    render_previews.router,
    thumbnails.router,
    usage.router,
    presets.router,
    generate.router,
    batch.router,
    latest.router,
    renders.router,
    events.router,
    files.router,
    video_frames.router,
    hls.router,
    webhook_secrets.router,
    schedule_routes.router,
    queries.router,
    agent.router,
    dead_letters.router,
    devices.router,
    workers.router,
    workload.router,
)
DESCRIPTION = """Send `Authorization: Bearer <JWT>`. Every error is `application/problem+json` (RFC 9457); its `type` is
a path of this service that explains it; its `error_id` identifies the log line. Lists are JSON arrays; their `Link`
header has the URL of the next page."""


class ReelmillApi(FastAPI):
    """FastAPI whose OpenAPI document includes the responses of middleware and error handlers."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            complete_document(super().openapi())
        return super().openapi()


def create_app(resources: Resources) -> FastAPI:
    """The API on open `resources`, which it closes when it stops."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await log_availability(resources.ollama_host, resources.agent)
        background = [
            asyncio.create_task(run_periodically(ScheduleRunner(resources).periodic_task())),
            asyncio.create_task(app.state.agent.models.warm_up()),
        ]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await app.state.agent.models.close()
            if resources.open_id is not None:
                await resources.open_id.issuer.close()
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
        middleware=middleware_stack(resources.verifier, resources.http, resources.public_url),
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.resources = resources
    app.state.checks = health.HealthChecks()
    app.state.status_poller = StatusPoller()
    app.state.guard = Guard(resources.database, resources.queries)
    app.state.agent = Agent(app.state.guard, LanguageModels(resources.ollama_host, resources.agent), resources.agent)
    problems.install_error_handlers(app)
    for router in (studio.router, health.router, metrics.router, docs.router, problem_types.router):
        app.include_router(router)
    for router in API_ROUTERS:
        app.include_router(router, dependencies=[Depends(require_json_acceptable)])
    return app


def middleware_stack(verifier: TokenVerifier, http: HttpSettings, public_url: str = "") -> list[Middleware]:
    """The middleware of every request, outermost first."""
    public = re.compile(f"{PUBLIC_PATHS.pattern}|/metrics") if http.metrics_public else PUBLIC_PATHS
    return [
        Middleware(AccessLogMiddleware),
        Middleware(HeadAsGet),
        Middleware(problems.ProblemBoundary),
        Middleware(UrlLimit),
        Middleware(AddressLimit, http=http),
        Middleware(Authentication, verifier=verifier, public_url=public_url, public=public),
        Middleware(RateLimit, rate=http.rate_limit),
        Middleware(EventStreamLimit, http=http),
        Middleware(BodyLimit, limit=http.max_body_bytes, rules=body_rules(http)),
    ]


def body_rules(http: HttpSettings) -> tuple[BodyRule, ...]:
    """The paths whose bodies have limits of their own: files, lists of files, and queries, which take long to check."""
    return (
        BodyRule(uploads.UPLOAD_PATHS, None),
        BodyRule(queries.QUERY_PATHS, http.max_query_bytes),
        BodyRule(signed_uploads.SIGNING_PATHS, http.max_list_bytes),
        BodyRule(batch.BATCH_PATH, http.max_batch_bytes),
    )

"""POST /api/videos/generate: validate the webhook, plan the render and submit it."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from sqlalchemy import RowMapping

from service.errors import InvalidRequest, invalid_field
from service.plan.estimate import Estimate
from service.plan.requests.planning import RenderPlan, plan
from service.routers.http.dependencies import CallerDep, Resources, ResourcesDep, require_scope
from service.routers.http.fields import StorableText
from service.routers.http.problems import error_responses
from service.routers.videos.finished_files import remake_if_lost
from service.routers.videos.models import DryRun, EstimateModel, JobAccepted
from service.routers.videos.presets import LoadedPreset, blame_preset, load_preset, with_options
from service.routers.videos.request_models import VideoGenerationRequest
from service.store import webhook_secrets
from service.store.database import Caller, Database
from service.store.renders.facts import read_render_facts
from service.store.renders.sources import require_planned_sources
from service.store.renders.submission import RenderSubmission, estimate_render, submit_render
from service.store.renders.webhook_limits import WEBHOOK_POINTER
from service.stream.playlist import STREAMABLE_CODECS
from service.webhooks.settings import WebhookSettings
from service.webhooks.target import TargetForbidden, TargetUnresolvable, judge_target


async def require_deliverable_webhook(
    url: str | None, caller: Caller, database: Database, settings: WebhookSettings
) -> None:
    """Validate a webhook URL before the render, not only at delivery. Raises InvalidRequest.

    A host that does not resolve is accepted: it may resolve when the render ends.
    """
    if url is None:
        return
    if settings.secret is None and not await _has_secret(database, caller):
        detail = "webhooks are signed, and you have no secret yet: make one with POST /api/webhooks/secrets"
        raise invalid_field(WEBHOOK_POINTER, detail, "no_webhook_secret")
    try:
        await judge_target(url, allow_private=settings.allow_private)
    except TargetForbidden as refused:
        raise invalid_field(WEBHOOK_POINTER, f"this webhook cannot be used: {refused}", "webhook_refused") from refused
    except TargetUnresolvable:
        return


async def _has_secret(database: Database, caller: Caller) -> bool:
    async with database.service_transaction() as connection:
        return bool(await webhook_secrets.list_secrets(connection, caller.subject))


def require_keepable(keep_days: int | None, caller: Caller, retention: timedelta | None) -> None:
    """Only admins may have a render kept for longer than the service keeps all. Raises InvalidRequest."""
    if keep_days is None or retention is None or caller.admin or timedelta(days=keep_days) <= retention:
        return
    detail = f"renders are kept for {retention / timedelta(days=1):g} days here: ask for no more, or let an admin ask"
    raise invalid_field("#/keep_days", detail, "longer_than_retention")


@dataclass(frozen=True, slots=True)
class Submitter:
    """Accepts render requests of one caller. A preset is read once, however many of them name it."""

    resources: Resources
    caller: Caller
    _presets: dict[str, LoadedPreset] = field(default_factory=dict)

    async def submit(self, body: VideoGenerationRequest, idempotency_key: str | None) -> JobAccepted | DryRun:
        """Plan the render and queue it, each in transactions of its own. Raises what the API answers alone, too."""
        submission = await self.prepare(body, idempotency_key)
        if not body.dry_run:
            return await self._queue(submission)
        estimate = await self._estimate(submission.plan)
        return DryRun(estimate=EstimateModel(**estimate.to_json()), plan=submission.plan.stages)

    async def estimate(self, body: VideoGenerationRequest) -> Estimate:
        """What a dry run answers. Raises what `prepare` does."""
        return await self._estimate((await self.prepare(body)).plan)

    async def merge(self, body: VideoGenerationRequest) -> VideoGenerationRequest:
        """The request with what its preset says of what it does not set. Raises InvalidRequest."""
        return with_options(body, await self._load_preset(body.preset))

    async def prepare(self, body: VideoGenerationRequest, idempotency_key: str | None = None) -> RenderSubmission:
        """The planned render with the caller's limits, for `submit_render`. Raises what `plan` does, and what webhooks,
        presets and the time that renders are kept have against it."""
        caller, resources = self.caller, self.resources
        preset = await self._load_preset(body.preset)
        merged = with_options(body, preset)
        if "decimation_factor" not in merged.model_fields_set:
            raise invalid_field("#/decimation_factor", "Field required", "missing")
        await require_deliverable_webhook(body.webhook_url, caller, resources.database, resources.webhooks)
        require_keepable(merged.keep_days, caller, resources.storage.retention)
        request = merged.to_request()
        facts = await read_render_facts(resources.database, caller, request, resources.limits)
        try:
            render_plan = plan(request, facts)
        except InvalidRequest as refused:
            raise blame_preset(refused, body, preset) from refused
        return RenderSubmission(
            render_plan,
            merged.to_document(),
            caller.subject,
            resources.limits,
            idempotency_key,
            body.webhook_url,
            admin=caller.admin,
            keep_days=merged.keep_days,
            quota=resources.storage.quota_of(caller.subject),
            preset=preset.named if preset else None,
            as_sent=body.as_sent(),
        )

    async def _load_preset(self, reference: str | None) -> LoadedPreset | None:
        if reference in self._presets:
            return self._presets[reference]
        preset = await load_preset(self.resources.database, self.caller, reference)
        if preset is not None and reference is not None:
            self._presets[reference] = preset
        return preset

    async def _estimate(self, render_plan: RenderPlan) -> Estimate:
        async with self.resources.database.service_transaction() as connection:
            await require_planned_sources(connection, render_plan, self.resources.sources)
            return await estimate_render(connection, render_plan)

    async def _queue(self, submission: RenderSubmission) -> JobAccepted:
        async with self.resources.database.service_transaction() as connection:
            await require_planned_sources(connection, submission.plan, self.resources.sources)
            row = await submit_render(connection, submission)
        if row["status"] == "succeeded" and row["video_key"] is not None:
            row = await remake_if_lost(self.resources, row)
        return _to_response(row)


def status_of(accepted: JobAccepted | DryRun) -> int:
    """The HTTP status of an accepted request: 202 if a render is to be made."""
    return 202 if isinstance(accepted, JobAccepted) and accepted.status != "succeeded" else 200


router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require_scope("videos:render"))])


@router.post(
    "/generate",
    status_code=202,
    summary="Render a video",
    response_model=JobAccepted | DryRun,
    responses={
        200: {"model": JobAccepted | DryRun, "description": "The video exists already, or this was a dry run"},
        **error_responses(404, 409),
    },
)
async def generate(
    body: VideoGenerationRequest,
    response: Response,
    caller: CallerDep,
    resources: ResourcesDep,
    idempotency_key: Annotated[Annotated[str, StorableText] | None, Header(min_length=1, max_length=200)] = None,
) -> JobAccepted | DryRun:
    """Plans a render and queues it. Answers 200 if the same frames were rendered with the same options before; the
    caller is then one of those who asked for that render. For 24 hours, the same `Idempotency-Key` and body return the
    same job. What the request does not set is taken from its `preset`, if it names one."""
    accepted = await Submitter(resources, caller).submit(body, idempotency_key)
    if isinstance(accepted, JobAccepted):
        response.headers["Location"] = accepted.status_url
    response.status_code = status_of(accepted)
    return accepted


def _to_response(render: RowMapping) -> JobAccepted:
    url, succeeded = f"/api/videos/{render['id']}", render["status"] == "succeeded"
    return JobAccepted(
        job_id=render["id"],
        status=render["status"],
        status_url=url,
        video_url=f"{url}/video" if succeeded else None,
        estimate=None if succeeded else EstimateModel(**render["estimate"]),
        plan=render["stages"],
        stream_url=f"{url}/stream.m3u8" if render["options"]["codec"] in STREAMABLE_CODECS else None,
    )

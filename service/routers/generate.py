"""POST /api/videos/generate: authorise, plan, then rows and jobs in one transaction."""

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict, FieldProblem, Invalid, NotFound, TooManyRequests, invalid_field
from service.ids import RenderId
from service.plan.bins import Bins, bins_of
from service.plan.containers import container_of
from service.plan.crop import Crop, crop_of, shown_size
from service.plan.geometry import native_size, output_size
from service.plan.levels import Levels
from service.plan.limits import RenderLimits
from service.plan.outputs import canonical
from service.plan.pixel_form import PixelForm, drawn_form, form_of, require_brightness, toned_kinds, turned_kinds
from service.plan.planner import render_key, select
from service.plan.render_plan import RenderOptions
from service.plan.route import route
from service.plan.stages import stage_plan
from service.plan.timing import rate_lasting
from service.plan.tone import Tone, settled
from service.plan.ways import Source
from service.routers.deps import CallerDep, DatabaseDep, ResourcesDep, require
from service.routers.overlay import overlay_of
from service.routers.problems import described
from service.routers.timing import captured_timing, frame_range, steady_rate
from service.routers.video_models import DryRun, EstimateModel, JobAccepted, VideoGenerationRequest
from service.routers.webhook_check import require_deliverable
from service.store import datasets, experiments, new_render, renders, webhooks
from service.store.database import Caller
from service.store.fleet import Fleet, fleet
from service.store.new_render import NewRender
from service.store.selection import timeline
from service.stream.playlist import STREAMED
from service.telemetry.metrics import RENDERS_ASKED

KEPT = ("uint8", "uint16")
"""What ffv1 holds as it is; signed, deeper and float samples need a tone."""
LOSSLESS = 100
"""The quality of every ffv1 render, whatever was asked for."""

router = APIRouter(prefix="/api/videos", tags=["videos"], dependencies=[Depends(require("videos:render"))])


@router.post(
    "/generate",
    status_code=202,
    summary="Render a video",
    response_model=JobAccepted | DryRun,
    responses={
        200: {"model": JobAccepted | DryRun, "description": "It exists already, or it was a dry run"},
        **described(404, 409),
    },
)
async def generate(
    body: VideoGenerationRequest,
    response: Response,
    who: CallerDep,
    database: DatabaseDep,
    at: ResourcesDep,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> JobAccepted | DryRun:
    """Plans the render from catalogue facts and queues it. The answer is 200 when the same pictures with the same
    options were rendered before; the same `Idempotency-Key` and body give the same job for 24 hours."""
    await require_deliverable(body.webhook_url, at.webhooks)
    async with database.service() as connection:
        devices = await fleet(connection)
    async with database.caller(who) as connection:
        new = await _plan(connection, body, at.limits, devices)
    async with database.service() as connection:
        if body.dry_run:
            response.status_code = 200
            foretold = await new_render.foretell(connection, new)
            return DryRun(estimate=EstimateModel(**foretold.to_json()), plan=new.stages)
        door = Door(connection, who, idempotency_key, at.limits)
        job = await door.enter(new, body.webhook_url)
    response.headers["Location"] = job.status_url
    response.status_code = 200 if job.status == "succeeded" else 202
    return job


async def _plan(
    connection: AsyncConnection, body: VideoGenerationRequest, limits: RenderLimits, devices: Fleet
) -> NewRender:
    dataset = await _dataset(connection, body)
    options = _options(dataset, body, limits)
    if body.overlay:
        shown = shown_size((dataset["width"], dataset["height"]), options.crop, options.rotate)
        overlay = await overlay_of(connection, body.overlay, dataset, options, shown)
        form = drawn_form(body.codec, options.form) if overlay else options.form
        options = replace(options, overlay=overlay, form=form)
    start, stop = await frame_range(connection, dataset, body)
    whole = options.bins is not None
    chosen = select(timeline(dataset, body.missing), body.decimation_factor, start, stop, whole=whole)
    if body.duration_seconds is not None:
        options = replace(options, fps=rate_lasting(chosen.count(), body.duration_seconds))
    if chosen.read() > limits.max_frames:
        more = "choose fewer with frames" if chosen.whole else "raise decimation_factor"
        detail = f"{chosen.read()} frames are more than the {limits.max_frames} of one render: {more}"
        raise invalid_field("#/decimation_factor", detail, "too_many_frames")
    way = route(devices.capabilities, options, _source(dataset, options), body.device, devices.sharing)
    options = replace(options, family=way.family)
    key = render_key(dataset, chosen, options)
    asked = body.model_dump(mode="json", by_alias=True, exclude={"webhook_url"})
    return NewRender(dataset, options, chosen, key, asked, stage_plan(options, way))


def _source(dataset: dict[str, Any], options: RenderOptions) -> Source:
    """What is decoded, and the size of what is shown of it, before any rotation."""
    width, height = (options.crop.width, options.crop.height) if options.crop else (dataset["width"], dataset["height"])
    return Source(tuple(dataset.get("formats") or ()), width, height)


async def _dataset(connection: AsyncConnection, body: VideoGenerationRequest) -> dict[str, Any]:
    """The dataset that is meant, ready to render. Raises NotFound, Conflict, Invalid."""
    rows = [dict(row) for row in await datasets.of_experiment(connection, body.experiment_id)]
    if await experiments.get(connection, body.experiment_id) is None:  # asked last: it may be deleted at this moment
        raise NotFound("there is no such experiment")
    if body.dataset_id is not None:
        rows = [row for row in rows if row["id"] == body.dataset_id]
    if not rows:
        raise _no_dataset(body.dataset_id)
    if len(rows) > 1:
        names = ", ".join(f"{row['name']} ({row['id']})" for row in rows[:10])
        raise invalid_field("#/dataset_id", f"the experiment has several datasets, name one: {names}", "ambiguous")
    _check_state(rows[0], body)
    return rows[0]


def _no_dataset(wanted: UUID | None) -> Invalid:
    detail = "the experiment has no datasets: register one first" if wanted is None else "no such dataset here"
    return invalid_field("#/dataset_id" if wanted else "#/experiment_id", detail, "no_dataset")


def _check_state(dataset: dict[str, Any], body: VideoGenerationRequest) -> None:
    state = dataset["state"]
    if state == "scanning":
        raise Conflict("the dataset is being scanned: try again when its state is ready", headers={"Retry-After": "2"})
    if state != "ready":
        reason = dataset["error"] or "it has never been scanned: upload frames, then scan it"
        raise invalid_field("#/dataset_id", f"the dataset is {state}: {reason}", "dataset_not_ready")
    if body.missing == "fail" and dataset["gap_frames"]:
        gap = dataset["gaps"][0]
        detail = f"frame number {gap['number']} is missing ({dataset['gap_frames']} in all) and missing is fail"
        raise invalid_field("#/missing", detail, "gap")


def _options(dataset: dict[str, Any], body: VideoGenerationRequest, limits: RenderLimits) -> RenderOptions:
    if not dataset["width"]:
        raise invalid_field("#/dataset_id", "no frame of the dataset can be read", "unreadable_dataset")
    source = (dataset["width"], dataset["height"])
    crop = _crop(body, source)
    shown = shown_size(source, crop, body.rotate)
    width, height = output_size(shown, body.width, body.height, body.scale, body.codec)
    tone, timing = _tone(dataset, body), captured_timing(dataset, body)
    return RenderOptions(
        codec=body.codec,
        quality=LOSSLESS if body.codec == "ffv1" else body.quality,
        fps=steady_rate(body),
        width=width,
        height=height,
        source_kind=dataset["kind"],
        missing=body.missing,
        corrupt=body.corrupt,
        mismatch=body.mismatch,
        max_pixels=limits.max_pixels,
        tone=tone,
        background=body.background,
        container=container_of(body.codec, body.container, timed=timing is not None),
        form=_form(dataset, body, shown, tone),
        crop=crop,
        rotate=body.rotate,
        bins=_bins(body, shown, (width, height)),
        timing=timing,
        outputs=canonical(body.outputs),
    )


def _form(
    dataset: dict[str, Any], body: VideoGenerationRequest, shown: tuple[int, int], tone: Tone | None
) -> PixelForm:
    """What the encoder is given. Raises Invalid where that has nothing that bins of the brightest could compare."""
    kinds = turned_kinds(toned_kinds(body.codec, dataset["forms"], tone), shown, body.rotate)
    form = form_of(body.codec, kinds)
    if body.decimation_mode == "max" and body.decimation_factor > 1:
        require_brightness(form)
    return form


def _tone(dataset: dict[str, Any], body: VideoGenerationRequest) -> Tone | None:
    """The window is settled here, from what the scan has measured, and holds for every segment."""
    if body.tone and dataset["kind"] == "video":
        raise invalid_field("#/tone", "source videos are shown as they are: tone is for image frames", "not_images")
    levels = Levels.from_json(dataset["levels"]) if dataset.get("levels") else None
    if body.codec == "ffv1" and body.tone is None and levels and levels.dtype in KEPT:
        return None
    return settled(body.tone.wish() if body.tone else None, levels)


def _bins(body: VideoGenerationRequest, shown: tuple[int, int], output: tuple[int, int]) -> Bins | None:
    native = native_size(shown, body.codec)
    return bins_of(body.decimation_mode, body.decimation_factor, native, output)


def _crop(body: VideoGenerationRequest, source: tuple[int, int]) -> Crop | None:
    part = body.crop
    return crop_of(source, (part.x, part.y), (part.width, part.height)) if part else None


@dataclass(frozen=True, slots=True)
class Door:
    """Lets a render in once: idempotency key, then the same render, then the caller's queue, then new rows."""

    connection: AsyncConnection
    who: Caller
    idempotency_key: str | None
    limits: RenderLimits

    async def enter(self, new: NewRender, webhook_url: str | None) -> JobAccepted:
        """The webhook's address is no part of the render: others may read that."""
        body = hashlib.sha256(repr((sorted(new.request.items()), webhook_url)).encode()).hexdigest()
        known = await self._by_idempotency_key(body)
        if known is None:
            await renders.lock_key(self.connection, new.key)
            known = await renders.find_same(self.connection, new.key, new.dataset["id"])
        if known is None:
            await self._check_queue()
            known = await new_render.write(self.connection, self.who.subject, new)
            RENDERS_ASKED.labels("new").inc()
        else:
            RENDERS_ASKED.labels("known").inc()
        if webhook_url is not None:
            await webhooks.register(self.connection, known, self.who.subject, webhook_url)
        if self.idempotency_key:
            await renders.keep_idempotent(self.connection, self.who.subject, self.idempotency_key, body, known)
        return await self._told(known)

    async def _by_idempotency_key(self, body: str) -> RenderId | None:
        if not self.idempotency_key:
            return None
        await renders.lock_key(self.connection, f"{self.who.subject} {self.idempotency_key}")
        row = await renders.find_idempotent(self.connection, self.who.subject, self.idempotency_key)
        if row is None:
            return None
        if row["body_sha256"] != body:
            detail = "this Idempotency-Key was used with another body: use a new key"
            raise Invalid(detail, errors=(FieldProblem(detail, "idempotency_key_reused", header="Idempotency-Key"),))
        return RenderId(row["render_id"])

    async def _check_queue(self) -> None:
        waiting = await renders.unfinished(self.connection, self.who.subject)
        if waiting >= self.limits.max_queued:
            detail = (
                f"you have {waiting} unfinished renders, at most {self.limits.max_queued} are allowed: let some end"
            )
            raise TooManyRequests(detail, headers={"Retry-After": "10"})

    async def _told(self, render: RenderId) -> JobAccepted:
        row = await renders.get(self.connection, render)
        assert row is not None
        done = row["status"] == "succeeded"
        return JobAccepted(
            job_id=render,
            status=row["status"],
            status_url=f"/api/videos/{render}",
            video_url=f"/api/videos/{render}/video" if done else None,
            estimate=None if done else EstimateModel(**row["estimate"]),
            plan=row["stages"],
            stream_url=f"/api/videos/{render}/stream.m3u8" if row["options"]["codec"] in STREAMED else None,
        )

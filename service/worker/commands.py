"""Builds the command that a slot executes for a task, from the task's rows."""

from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs.leases import AssembleLease, Lease, PreviewLease, RenderLease, ScanLease, SegmentLease
from service.plan.preview import preview_from_json
from service.plan.render_plan import RenderOptions
from service.store.cache import eviction, segments
from service.store.catalog.source_access import SourceForbidden, require_source
from service.store.renders import lifecycle, queries
from service.store.renders.sources import require_sources
from service.store.source_rules import SourceRules
from service.telemetry import metrics
from service.worker import outcomes
from service.worker.slots.messages import AssembleRender, Command, RenderPreview, RenderSegment, ScanDataset


async def load_command(connection: AsyncConnection, lease: Lease, rules: SourceRules) -> Command | None:
    """Build the slot's command. None if the task ended here (completed from the cache, or its source is forbidden), or
    was put off."""
    try:
        await _require_sources(connection, lease, rules)
    except SourceForbidden as refused:
        await outcomes.fail_task(connection, lease, "source_forbidden", refused.detail)
        return None
    match lease:
        case SegmentLease():
            return await _load_segment(connection, lease)
        case AssembleLease():
            return await _load_assembly(connection, lease)
        case ScanLease():
            return ScanDataset(lease.dataset_id)
        case PreviewLease():
            return RenderPreview(preview_from_json(lease.payload))
    raise TypeError(f"no slot executes a task of kind {lease.kind}")


async def _require_sources(connection: AsyncConnection, lease: Lease, rules: SourceRules) -> None:
    """Of what the task reads. A render is running from its first task on. Raises SourceForbidden."""
    match lease:
        case RenderLease():
            if await require_sources(connection, lease.render_id, rules):
                await lifecycle.mark_running(connection, lease.render_id)
        case ScanLease():
            await require_source(connection, lease.dataset_id, rules)
        case PreviewLease():
            for dataset in preview_from_json(lease.payload).datasets:
                await require_source(connection, dataset, rules)


async def _load_segment(connection: AsyncConnection, lease: SegmentLease) -> RenderSegment | None:
    plan, known_key = await queries.load_segment_plan(connection, lease.render_id, lease.number)
    content_key = known_key or plan.content_key()
    if known_key is None:
        await eviction.cancel_removal(connection, content_key)
    entry = await segments.find_entry(connection, content_key)
    if entry is None:
        return RenderSegment(plan, content_key)
    metrics.SEGMENTS_REUSED.inc()
    await outcomes.complete_cached_segment(connection, lease, content_key, entry["frames"])
    return None


async def _load_assembly(connection: AsyncConnection, lease: AssembleLease) -> AssembleRender | None:
    if await outcomes.rerender_outdated_segments(connection, lease):
        return None
    render = await queries.get_render(connection, lease.render_id)
    if render is None:
        raise LookupError(f"render {lease.render_id} does not exist")
    facts = {name: render[name] for name in ("request", "stages")}
    facts |= {name: str(render[name]) for name in ("id", "experiment_id", "dataset_id")}
    facts |= await segments.timing_summary(connection, lease.render_id)
    facts["failed_attempts"] = await queries.list_failed_attempts(connection, lease.render_id)
    if preset := await queries.first_preset(connection, lease.render_id):
        facts["preset"] = preset
    if render["remake"]:
        facts["remade"] = render["remake"] | {"sha256_before": render["video_sha256"]}
    stored = await segments.list_render_segments(connection, lease.render_id)
    return AssembleRender(lease.render_id, RenderOptions.from_json(render["options"]), tuple(stored), facts)

"""Read all facts that a render is planned from, in one go."""

from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.colour import Colour
from service.plan.facts import CapturedFrames, ClusterCapabilities, DatasetFacts, RenderFacts, RenderLimits
from service.plan.overlay import pixel_size_of
from service.plan.requests.request import RenderRequest
from service.plan.segments import window_error
from service.store import workers
from service.store.catalog import datasets, experiments
from service.store.catalog.datasets import DatasetRow
from service.store.database import Caller, Database
from service.store.tables import sources

CAPTURED_FRAMES = text("""
    SELECT min(index) AS first_index, max(index) AS last_index, min(number) AS first_number, max(number) AS last_number
    FROM frames WHERE dataset_id = :dataset
        AND captured_at >= coalesce(CAST(:since AS timestamptz), captured_at)
        AND captured_at < coalesce(CAST(:until AS timestamptz), 'infinity')
""")


async def read_render_facts(
    database: Database, caller: Caller, request: RenderRequest, limits: RenderLimits
) -> RenderFacts:
    """The facts for this request; of the catalogue only what the caller may see."""
    async with database.service_transaction() as connection:  # devices have no owner
        cluster = await read_cluster_capabilities(connection)
    async with database.caller_transaction(caller) as connection:
        rows = await datasets.list_by_experiment(connection, request.experiment_id)
        # The experiment is read last: one that is deleted at this moment must not look like one without datasets.
        experiment = await experiments.get(connection, request.experiment_id)
        found = _meant_datasets(request, rows)
        first = found[0] if len(found) == 1 or (found and request.grid) else None
        return RenderFacts(
            limits=limits,
            experiment_exists=experiment is not None,
            datasets=found,
            pixel_size_um=pixel_size_of(experiment["metadata"]) if experiment else None,
            captured=await _captured_frames(connection, request, first) if first else None,
            colours=await _source_colours(connection, found) if first else (),
            cluster=cluster,
        )


def _meant_datasets(request: RenderRequest, rows: Sequence[DatasetRow]) -> tuple[DatasetRow, ...]:
    """Those that the request can mean; of a grid, those of its panels that are there, in their order."""
    if request.grid:
        known = {row.id: row for row in rows}
        return tuple(known[wanted] for wanted in request.grid.datasets if wanted in known)
    return tuple(row for row in rows if request.dataset_id in (None, row.id))


async def read_cluster_capabilities(connection: AsyncConnection) -> ClusterCapabilities:
    """What the live workers can do together."""
    capabilities = await workers.best_capabilities(connection)
    return ClusterCapabilities(tuple(capabilities), await workers.count_slots_per_gpu(connection))


async def _captured_frames(
    connection: AsyncConnection, request: RenderRequest, dataset: DatasetFacts
) -> CapturedFrames | None:
    """The frames in the request's time window; None when there are none, or when planning will refuse the window."""
    frames = request.frames
    if frames is None or frames.window is None or window_error(frames, dataset):
        return None
    values = {"dataset": dataset.id, "since": frames.window.since, "until": frames.window.until}
    row = (await connection.execute(CAPTURED_FRAMES, values)).mappings().one()
    return None if row["first_index"] is None else CapturedFrames(**row)


async def _source_colours(connection: AsyncConnection, datasets: Sequence[DatasetFacts]) -> tuple[Colour, ...]:
    """Of all source videos; empty for images, and if one was scanned by a version that did not note its colours."""
    found: list[Colour] = []
    for dataset in datasets:
        if dataset.kind == "video":
            query = select(sources.c.colour).where(sources.c.dataset_id == dataset.id, sources.c.problem.is_(None))
            in_order = query.group_by(sources.c.colour).order_by(func.min(sources.c.number))
            documents = list(await connection.scalars(in_order))
            if None in documents:
                return ()
            found += map(Colour.from_json, documents)
    return tuple(dict.fromkeys(found))

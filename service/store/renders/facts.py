"""Read everything that a render is planned from, before it is planned."""

from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.facts import CapturedFrames, ClusterCapabilities, DatasetFacts, RenderFacts, RenderLimits
from service.plan.overlay import pixel_size_of
from service.plan.request import RenderRequest
from service.plan.segments import window_error
from service.plan.tone import Levels
from service.store import workers
from service.store.catalog import datasets, experiments
from service.store.database import Caller, Database

CAPTURED_FRAMES = text("""
    SELECT min(index) AS first_index, max(index) AS last_index, min(number) AS first_number, max(number) AS last_number
    FROM frames WHERE dataset_id = :dataset
        AND captured_at >= coalesce(CAST(:since AS timestamptz), captured_at)
        AND captured_at < coalesce(CAST(:until AS timestamptz), 'infinity')
""")


async def read_render_facts(
    database: Database, caller: Caller, request: RenderRequest, limits: RenderLimits
) -> RenderFacts:
    """The facts for this request: of the catalogue only what row-level security lets the caller see."""
    async with database.service_transaction() as connection:  # devices belong to nobody
        cluster = await read_cluster_capabilities(connection)
    async with database.caller_transaction(caller) as connection:
        rows = await datasets.list_by_experiment(connection, request.experiment_id)
        # The experiment is read last: one that is deleted at this moment must not look like one without datasets.
        experiment = await experiments.get(connection, request.experiment_id)
        found = tuple(dataset_facts(row) for row in rows if request.dataset_id in (None, row["id"]))
        return RenderFacts(
            limits=limits,
            experiment_exists=experiment is not None,
            datasets=found,
            pixel_size_um=pixel_size_of(experiment["metadata"]) if experiment else None,
            captured=await _captured_frames(connection, request, found[0]) if len(found) == 1 else None,
            cluster=cluster,
        )


async def read_cluster_capabilities(connection: AsyncConnection) -> ClusterCapabilities:
    """What the live workers can do together."""
    capabilities = await workers.best_capabilities(connection)
    return ClusterCapabilities(tuple(capabilities), await workers.count_slots_per_gpu(connection))


def dataset_facts(row: RowMapping | dict[str, Any]) -> DatasetFacts:
    """The facts of a row of `datasets`."""
    return DatasetFacts(
        id=row["id"],
        experiment_id=row["experiment_id"],
        name=row["name"],
        kind=row["kind"],
        bucket=row["bucket"],
        state=row["state"],
        error=row["error"],
        frame_count=row["frame_count"],
        width=row["width"],
        height=row["height"],
        formats=tuple(row["formats"]),
        pixel_formats=row["forms"],
        levels=Levels.from_json(row["levels"]) if row["levels"] else None,
        captured=None if row["captured_from"] is None else (row["captured_from"], row["captured_to"]),
        first_gap=row["gaps"][0]["number"] if row["gaps"] else None,
        gap_frames=row["gap_frames"],
        number_first=row["number_first"],
        number_stride=row["number_stride"],
        digest=row["digest"],
    )


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

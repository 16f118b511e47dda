"""Whether the datasets that a render shows may be read now: one, or those of a grid."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.render_plan import PIPELINE_VERSION
from service.plan.requests.planning import RenderPlan
from service.store.catalog.source_access import check_source, require_source
from service.store.source_rules import SourceRules

# `is_new`: nothing of the render was begun by this version of the pipeline.
SELECT_SOURCES = text(f"""
    SELECT d.bucket, d.prefix, d.experiment_id, d.source_grant, e.owner,
        (SELECT status = 'queued' OR pipeline < {PIPELINE_VERSION} FROM renders WHERE id = :render) AS is_new
    FROM datasets d JOIN experiments e ON e.id = d.experiment_id
    WHERE d.id = ANY(ARRAY(
        SELECT dataset_id FROM renders WHERE id = :render
        UNION ALL SELECT dataset_id FROM render_panels WHERE render_id = :render))
""")


async def require_sources(connection: AsyncConnection, render: UUID, rules: SourceRules) -> bool:
    """Whether a task of the render would be the first of it. Raises SourceForbidden.

    One question for both, as it is asked for each segment.
    """
    rows = (await connection.execute(SELECT_SOURCES, {"render": render})).all()
    for row in rows:
        check_source(row, rules)
    return any(row.is_new for row in rows)


async def require_planned_sources(connection: AsyncConnection, plan: RenderPlan, rules: SourceRules) -> None:
    """Raises SourceForbidden."""
    for dataset in plan.datasets:
        await require_source(connection, dataset.id, rules)

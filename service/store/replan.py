"""A render whose encoder is gone, planned anew on the CPU's: a file has one encoder, so all of its segments change."""

from dataclasses import replace

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from service.ids import RenderId, TaskId
from service.store import renders
from service.store.tables import renders as render_rows
from service.store.tables import segments

DELETE_SEGMENT_TASKS = text("DELETE FROM tasks WHERE render_id = :render AND kind = 'segment'")


async def replan_on_cpu_encoder(connection: AsyncConnection, render: RenderId, reason: str) -> list[TaskId]:
    """The tasks of the new plan, for what the cache does not hold; none when it was planned anew already.

    What the GPU's encoder has made stays in the cache, under keys of its own. The caller holds the render row's lock.
    """
    row = await renders.get_render(connection, render)
    assert row is not None
    options = renders.parse_options(row)
    if options.family.encoder == "cpu":
        return []
    options = replace(options, family=replace(options.family, encoder="cpu"))
    stages = row["stages"] | {"encode": {"device": "cpu", "reason": f"planned anew: {reason}"}}
    changed = update(render_rows).where(render_rows.c.id == render)
    await connection.execute(changed.values(options=options.to_json(), stages=stages))
    numbers = select(segments.c.number).where(segments.c.render_id == render).order_by(segments.c.number)
    for number in (await connection.scalars(numbers)).all():
        await _rekey_segment(connection, render, number)
    await connection.execute(DELETE_SEGMENT_TASKS, {"render": render})
    return await renders.create_segment_tasks(connection, render)


async def _rekey_segment(connection: AsyncConnection, render: RenderId, number: int) -> None:
    """The segment under the content key of the render's options as they are now."""
    plan, _ = await renders.load_segment_plan(connection, render, number)
    this = (segments.c.render_id == render, segments.c.number == number)
    await connection.execute(update(segments).where(*this).values(content_key=plan.content_key(), reused=False))

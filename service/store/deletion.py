"""What goes when an experiment, a dataset or a render goes: counted, called off, and its objects marked for removal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from service.errors import Conflict
from service.store import renders as render_rows
from service.store.tables import datasets, experiments, renders, tasks

Kind = Literal["experiment", "dataset", "render"]
UNDER_WAY = ("queued", "running")
SETTLING_S = 120
"""A worker may still publish a file of a render that was called off, until it notices."""

MARK = text("""
    INSERT INTO removals (bucket, prefix, due_at)
    SELECT :bucket, prefix, now() + make_interval(secs => :wait) FROM unnest(CAST(:prefixes AS text[])) AS prefix
    ON CONFLICT (bucket, prefix) DO UPDATE SET due_at = greatest(removals.due_at, excluded.due_at)
""")


@dataclass(frozen=True, slots=True)
class Doomed:
    """The rows that go with `id`, locked until the end of the transaction, and the service's own bucket."""

    kind: Kind
    id: UUID
    bucket: str
    renders: Sequence[RowMapping]
    datasets: Sequence[RowMapping]

    @property
    def under_way(self) -> list[UUID]:
        return [row["id"] for row in self.renders if row["status"] in UNDER_WAY]

    @property
    def objects(self) -> int:
        """Videos, posters and receipts."""
        return sum(row[name] is not None for row in self.renders for name in ("video_key", "poster_key", "receipt_key"))


async def hold(connection: AsyncConnection, kind: Kind, id_: UUID, bucket: str) -> Doomed:
    """As the service. Renders are locked before their tasks, as the workers do, so that none deadlocks with another."""
    belongs = renders.c.id if kind == "render" else renders.c[f"{kind}_id"]
    query = select(renders).where(belongs == id_).order_by(renders.c.id).with_for_update()
    found = (await connection.execute(query)).mappings().all()
    sets = await _datasets(connection, kind, id_)
    theirs = [row["id"] for row in found], [row["id"] for row in sets]
    query = select(tasks.c.id).where(or_(tasks.c.render_id.in_(theirs[0]), tasks.c.dataset_id.in_(theirs[1])))
    await connection.execute(query.order_by(tasks.c.id).with_for_update())
    return Doomed(kind, id_, bucket, found, sets)


async def _datasets(connection: AsyncConnection, kind: Kind, id_: UUID) -> Sequence[RowMapping]:
    if kind == "render":
        return []
    belongs = datasets.c.id if kind == "dataset" else datasets.c.experiment_id
    columns = (datasets.c.id, datasets.c.bucket, datasets.c.prefix, datasets.c.frame_count)
    query = select(*columns).where(belongs == id_).order_by(datasets.c.created_at, datasets.c.id)
    return (await connection.execute(query)).mappings().all()


async def carry_out(connection: AsyncConnection, doomed: Doomed, *, force: bool) -> None:
    """Delete the row and what hangs on it. Raises Conflict while renders are under way, unless `force` ends them."""
    live = set(doomed.under_way)
    if live and not force:
        what = "the render is" if doomed.kind == "render" else f"{len(live)} renders are"
        raise Conflict(f"{what} under way: cancel first, or delete with force=true")
    for render in live:
        await render_rows.cancel(connection, render)
    quiet = [f"renders/{row['id']}/" for row in doomed.renders if row["id"] not in live]
    await _mark(connection, doomed.bucket, quiet + [f"previews/{row['id']}/" for row in doomed.datasets], 0)
    await _mark(connection, doomed.bucket, [f"renders/{render}/" for render in live], SETTLING_S)
    table = {"experiment": experiments, "dataset": datasets, "render": renders}[doomed.kind]
    await connection.execute(table.delete().where(table.c.id == doomed.id))


async def _mark(connection: AsyncConnection, bucket: str, prefixes: list[str], wait_s: int) -> None:
    values: dict[str, Any] = {"bucket": bucket, "prefixes": prefixes, "wait": wait_s}
    await connection.execute(MARK, values)

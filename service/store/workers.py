"""Live workers: heartbeats, metrics, devices and their capabilities.

Ages are measured by the worker and converted to the database's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, delete, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs.routing import IS_ACTIVE, IS_LIVE
from service.plan.capability import Capability
from service.store.tables import workers

UPSERT_WORKER = text("""
    INSERT INTO workers (id, name, slots, version) VALUES (:id, :name, :slots, :version)
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), slots = :slots
    RETURNING state, extract(epoch FROM clock_timestamp())::float8 AS seconds
""")
UPDATE_FACTS = text("UPDATE workers SET facts = facts || :facts WHERE id = :id").bindparams(
    bindparam("facts", type_=JSONB)
)
SELECT_METRICS = text(f"""
    SELECT name, facts -> 'figures' AS figures FROM workers WHERE {IS_LIVE} AND facts ? 'figures' ORDER BY name
""")
# After a long outage all workers come back at once, each with its own row locked: nobody waits for another one.
DELETE_DEAD_WORKERS = text("""
    DELETE FROM workers WHERE id IN (
        SELECT id FROM workers WHERE heartbeat_at < now() - interval '5 minutes' FOR UPDATE SKIP LOCKED)
""")
SUM_ACTIVE_SLOTS = text(f"SELECT coalesce(sum(slots), 0) FROM workers WHERE {IS_ACTIVE}")
EXISTS_LIVE_WORKER = text(f"""
    SELECT EXISTS (SELECT 1 FROM workers WHERE split_part(name, ':', 1) = :machine AND {IS_LIVE})
""")

WorkerState = Literal["active", "cordoned", "draining"]


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """What a worker learns from its heartbeat: its state, and the time of the database in seconds since 1970."""

    state: WorkerState
    seconds: float


async def record_heartbeat(
    connection: AsyncConnection, worker: UUID, name: str, slots: int, version: str
) -> HeartbeatAnswer:
    """Write that the worker lives. Rows of those that are dead for five minutes are deleted."""
    values = {"id": worker, "name": name, "slots": slots, "version": version}
    row = (await connection.execute(UPSERT_WORKER, values)).one()
    await connection.execute(DELETE_DEAD_WORKERS)
    return HeartbeatAnswer(row.state, row.seconds)


async def update_facts(connection: AsyncConnection, worker: UUID, facts: dict[str, Any]) -> None:
    """Merge `facts` into the facts about this worker."""
    await connection.execute(UPDATE_FACTS, {"id": worker, "facts": facts})


async def list_worker_metrics(connection: AsyncConnection) -> list[tuple[str, list[dict[str, Any]]]]:
    """(name, metrics) of each live worker."""
    return [(row.name, row.figures) for row in await connection.execute(SELECT_METRICS)]


async def unregister_worker(connection: AsyncConnection, worker: UUID) -> None:
    await connection.execute(delete(workers).where(workers.c.id == worker))


async def count_active_slots(connection: AsyncConnection) -> int:
    """Slots of all live workers that take tasks."""
    return int(await connection.scalar(SUM_ACTIVE_SLOTS) or 0)


async def has_live_worker(connection: AsyncConnection, machine: str) -> bool:
    """Whether a worker named `machine:<pid>` is live."""
    return bool(await connection.scalar(EXISTS_LIVE_WORKER, {"machine": machine}))


_JSON_ROWS = bindparam("rows", type_=JSONB)

DELETE_UNLISTED_DEVICES = text("""
    DELETE FROM devices WHERE worker_id = :worker
        AND device NOT IN (SELECT value ->> 'device' FROM jsonb_array_elements(:rows))
""").bindparams(_JSON_ROWS)
UPSERT_DEVICES = text("""
    INSERT INTO devices (worker_id, device, facts, looked_at)
    SELECT :worker, value ->> 'device', value - 'age', now() - make_interval(secs => (value ->> 'age')::float)
    FROM jsonb_array_elements(:rows)
    ON CONFLICT (worker_id, device) DO UPDATE SET facts = excluded.facts, looked_at = excluded.looked_at
""").bindparams(_JSON_ROWS)
UPSERT_CAPABILITIES = text("""
    INSERT INTO capabilities (worker_id, device, stage, what, state, reason, proven_at, rate, faults, next_at)
    SELECT :worker, device, stage, what, state, reason, now() - make_interval(secs => age), rate, faults,
        now() + make_interval(secs => next)
    FROM jsonb_to_recordset(:rows) AS told(device text, stage text, what text, state text, reason text, age float,
        rate float, faults int, next float)
    ON CONFLICT (worker_id, device, stage, what) DO UPDATE SET state = excluded.state, reason = excluded.reason,
        proven_at = excluded.proven_at, rate = excluded.rate, faults = excluded.faults, next_at = excluded.next_at
""").bindparams(_JSON_ROWS)
SELECT_DEVICES = text(f"""
    SELECT w.name AS worker, d.device, d.facts, extract(epoch FROM now() - d.looked_at)::float AS age,
        coalesce(w.facts -> 'sandbox_gaps', '[]') AS sandbox_gaps, (
        SELECT coalesce(jsonb_agg(jsonb_build_object('stage', c.stage, 'what', c.what, 'state', c.state,
            'reason', nullif(c.reason, ''), 'rate', c.rate, 'faults', c.faults,
            'age', extract(epoch FROM now() - c.proven_at), 'next', greatest(extract(epoch FROM c.next_at - now()), 0))
            ORDER BY c.stage, c.what), '[]')
        FROM capabilities c WHERE (c.worker_id, c.device) = (d.worker_id, d.device)) AS capabilities
    FROM devices d JOIN workers w ON w.id = d.worker_id
    WHERE {IS_LIVE} AND (CAST(:device AS text) IS NULL OR d.device = :device) ORDER BY w.name, d.device
""")
SELECT_BEST_CAPABILITIES = text(f"""
    SELECT DISTINCT ON (c.device, c.stage, c.what) c.device, c.stage, c.what, c.state, c.reason,
        extract(epoch FROM c.proven_at)::float AS proven_at, c.rate
    FROM capabilities c JOIN workers w ON w.id = c.worker_id WHERE {IS_LIVE} AND w.state = 'active'
    ORDER BY c.device, c.stage, c.what,
        array_position(ARRAY['ok', 'degraded', 'unknown', 'quarantined', 'absent'], c.state), c.proven_at DESC
""")
SELECT_DEVICE_SUMMARIES = text(f"""
    SELECT d.device, bool_and((d.facts ->> 'absent') IS NOT NULL) AS absent,
        count(DISTINCT d.worker_id) FILTER (WHERE (d.facts ->> 'absent') IS NULL) AS present,
        count(c.what) AS capabilities, count(c.what) FILTER (WHERE c.state = 'unknown') AS unknown,
        array_agg(DISTINCT c.stage || ' ' || c.what ORDER BY c.stage || ' ' || c.what)
            FILTER (WHERE c.state IN ('degraded', 'quarantined')) AS faulty
    FROM devices d JOIN workers w ON w.id = d.worker_id
    LEFT JOIN capabilities c ON (c.worker_id, c.device) = (d.worker_id, d.device)
    WHERE {IS_LIVE} GROUP BY d.device ORDER BY d.device
""")
SELECT_SLOTS_PER_GPU = text(f"""
    SELECT sum(least(w.slots, coalesce((w.facts ->> 'gpu_slots')::int * own.gpus, w.slots)))::float / sum(own.gpus)
    FROM workers w JOIN LATERAL (
        SELECT count(*) AS gpus FROM devices
        WHERE worker_id = w.id AND device <> 'cpu' AND (facts ->> 'absent') IS NULL) own ON own.gpus > 0
    WHERE {IS_LIVE}
""")


async def write_devices(
    connection: AsyncConnection,
    worker: UUID,
    devices: Sequence[Mapping[str, Any]],
    capabilities: Sequence[Mapping[str, Any]],
) -> None:
    """Write the devices and capabilities of this worker, whose own row must exist, and delete its unlisted devices."""
    await connection.execute(DELETE_UNLISTED_DEVICES, {"worker": worker, "rows": list(devices)})
    await connection.execute(UPSERT_DEVICES, {"worker": worker, "rows": list(devices)})
    await connection.execute(UPSERT_CAPABILITIES, {"worker": worker, "rows": list(capabilities)})


async def list_devices(connection: AsyncConnection, device: str | None = None) -> Sequence[RowMapping]:
    """The devices of each live worker, with their capabilities; all, or those with this name."""
    return (await connection.execute(SELECT_DEVICES, {"device": device})).mappings().all()


async def best_capabilities(connection: AsyncConnection) -> list[Capability]:
    """The capabilities of the workers that take tasks; of devices with the same name, those of the healthiest one."""
    return [Capability(**row) for row in (await connection.execute(SELECT_BEST_CAPABILITIES)).mappings()]


async def summarize_devices(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Each device over all live workers: how many capabilities, how many untested, and the names of faulty ones."""
    return (await connection.execute(SELECT_DEVICE_SUMMARIES)).mappings().all()


async def count_slots_per_gpu(connection: AsyncConnection) -> float:
    """How many slots share one GPU, on average over the live workers with GPUs; at least 1."""
    return max(float(await connection.scalar(SELECT_SLOTS_PER_GPU) or 1.0), 1.0)

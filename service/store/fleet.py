"""What the live workers can do together, for the plan of a render."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.capability import CPU, Capability
from service.store import device_rows, worker_rows


@dataclass(frozen=True, slots=True)
class Fleet:
    """`sharing` is how many slots use one GPU at a time."""

    capabilities: tuple[Capability, ...] = ()
    sharing: float = 1.0


async def fleet(connection: AsyncConnection) -> Fleet:
    """Read as the service: devices are nobody's own."""
    known = await device_rows.best(connection)
    gpus = sum(row["present"] for row in await device_rows.counted(connection) if row["device"] != CPU)
    slots = await worker_rows.live_slots(connection)
    return Fleet(tuple(known), max(slots / gpus, 1.0) if gpus else 1.0)

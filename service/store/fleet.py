"""What the live workers can do together, for the plan of a render."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from service.plan.capability import Capability
from service.store import device_rows


@dataclass(frozen=True, slots=True)
class Fleet:
    """`sharing` is how many slots use one GPU at a time."""

    capabilities: tuple[Capability, ...] = ()
    sharing: float = 1.0


async def fleet(connection: AsyncConnection) -> Fleet:
    """Read as the service: devices are nobody's own."""
    return Fleet(tuple(await device_rows.best(connection)), await device_rows.sharing(connection))

"""GET /api/devices: the devices of live workers and their tested capabilities."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from service.errors import NotFound
from service.routers.http.dependencies import DatabaseDep, require_scope
from service.routers.http.problems import error_responses
from service.routers.ops.device_models import DeviceModel
from service.store import workers

router = APIRouter(prefix="/api/devices", tags=["operations"], dependencies=[Depends(require_scope("ops:read"))])

DEVICE_NAME = r"^(cpu|cuda:[0-9]{1,3})$"


@router.get("", summary="What the machines can do, proven", responses=error_responses(404))
async def list_devices(
    database: DatabaseDep,
    device: Annotated[
        str | None, Query(description="only devices with this name", examples=["cuda:0"], pattern=DEVICE_NAME)
    ] = None,
) -> list[DeviceModel]:
    """Every device of every live worker (heard from within 15 seconds). Each capability was tested by a canary, a
    process of its own whose output is checked; the response has the age of the test and the reason if it is missing
    or broken. The figures come from the kernel and the driver. Without a live worker the list is empty."""
    async with database.service_transaction() as connection:
        rows = await workers.list_devices(connection, device)
    if device is not None and not rows:
        raise NotFound("no live worker has a device of this name: the list without `device` has all")
    return [DeviceModel.from_row(dict(row)) for row in rows]

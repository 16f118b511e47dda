"""A real supervisor with real slot processes, in this process's event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from service.plan.placement import REAL_DRIVER
from service.store.database import Database
from service.store.renders import queries
from service.store.settings import ObjectSettings
from service.webhooks.settings import WebhookSettings
from service.worker.devices.canaries import DeviceSource
from service.worker.settings import WorkerSettings
from service.worker.slots.messages import CodecConfig, SlotConfig
from service.worker.supervisor import Supervisor
from tests.support.patience import PATIENCE_S

# Most tests do not need canaries.
NO_DEVICES = DeviceSource((), lambda device: ())


def slot_config(home: Path, sources: str = "", memory_mb: int = 4096, **more: Any) -> SlotConfig:
    return SlotConfig(ObjectSettings.model_construct(sources=sources), home, CodecConfig(memory_mb, 8, **more))


@asynccontextmanager
async def running_supervisor(
    database: Database,
    home: Path,
    slots: int = 1,
    webhooks: WebhookSettings | None = None,
    devices: DeviceSource = NO_DEVICES,
    driver: str = REAL_DRIVER,
    idle_s: float = 30,
    sources: str = "",
    memory_mb: int = 4096,
    objects: ObjectSettings | None = None,
    **settings: Any,
) -> AsyncIterator[Supervisor]:
    """Run tasks until the end of the block. `sources` is MINIO_SOURCES; `objects` are those of an S3 server."""
    (home / "objects" / "reelmill").mkdir(parents=True, exist_ok=True)
    own = WorkerSettings.model_construct(slots=slots, **settings)
    # A double of a driver is not among the libraries that a slot can read when it is shut in.
    config = slot_config(home, sources, memory_mb, driver=driver, idle_s=idle_s, confined=driver == REAL_DRIVER)
    if objects is not None:
        config = replace(config, objects=objects, codec=replace(config.codec, bucket=objects.bucket))
    supervisor = Supervisor(database, config, own, webhooks, devices)
    running = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        supervisor.stop()
        async with asyncio.timeout(PATIENCE_S):
            await running


async def wait_until_ended(database: Database, render: UUID, seconds: float = PATIENCE_S) -> Any:
    """Wait until the render has ended; returns its status row."""
    async with asyncio.timeout(seconds):
        while True:
            async with database.service_transaction() as connection:
                row = (await queries.list_statuses(connection, [render]))[0]
            if row["status"] in ("succeeded", "failed", "cancelled"):
                return row
            await asyncio.sleep(0.05)


async def wait_for_status(database: Database, render: UUID, done: Callable[[Any], bool]) -> None:
    """Wait until a render's status row satisfies `done`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                if done((await queries.list_statuses(connection, [render]))[0]):
                    return
            await asyncio.sleep(0.02)

"""Renders that take long enough to be interrupted."""

from dataclasses import replace
from pathlib import Path

from service.ids import RenderId
from service.plan.render_plan import RenderOptions
from service.store.database import Database
from tests.support.data.database_rows import OPTIONS, add_render
from tests.support.data.footage import add_footage

# Large enough that a kill lands in the middle.
SLOW = replace(OPTIONS, width=1280, height=960)
# A segment lasts longer than a heartbeat, so that one under way can be told from one that is done.
VERY_SLOW = replace(OPTIONS, width=2560, height=1920)


async def submit(database: Database, home: Path, count: int = 240, options: RenderOptions = SLOW) -> RenderId:
    async with database.service_transaction() as connection:
        return await add_render(connection, await add_footage(connection, home, count), options=options)

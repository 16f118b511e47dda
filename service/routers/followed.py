"""Renders that are followed: one look at each a beat, however many follow it."""

import asyncio
from uuid import UUID

from service.routers.video_models import VideoStatus
from service.routers.videos import get_status
from service.store.database import Database

POLL_INTERVAL_S = 0.4
RETENTION_S = 10.0


class StatusPoller:
    """The looks under way and the last ones."""

    def __init__(self) -> None:
        self._polls: dict[UUID, tuple[float, asyncio.Task[VideoStatus]]] = {}

    async def status(self, database: Database, job: UUID) -> VideoStatus:
        """At most a beat old. Raises NotFound, and what a lost database raises."""
        now = asyncio.get_running_loop().time()
        began, look = self._polls.get(job, (0.0, None))
        if look is None or (look.done() and now - began > POLL_INTERVAL_S * 0.9):
            look = self._start_poll(database, job, now)
        return await asyncio.shield(look)

    def _start_poll(self, database: Database, job: UUID, now: float) -> asyncio.Task[VideoStatus]:
        look = asyncio.create_task(get_status(database, job))
        look.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may have waited for it
        self._polls = {known: entry for known, entry in self._polls.items() if now - entry[0] < RETENTION_S}
        self._polls[job] = (now, look)
        return look

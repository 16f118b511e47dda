"""Renders that are followed: one look at each a beat, however many follow it."""

import asyncio
from uuid import UUID

from service.routers.video_models import VideoStatus
from service.routers.videos import current
from service.store.database import Database

BEAT_S = 0.4
KEPT_S = 10.0


class Followed:
    """The looks under way and the last ones."""

    def __init__(self) -> None:
        self._looks: dict[UUID, tuple[float, asyncio.Task[VideoStatus]]] = {}

    async def status(self, database: Database, job: UUID) -> VideoStatus:
        """At most a beat old. Raises NotFound, and what a lost database raises."""
        now = asyncio.get_running_loop().time()
        began, look = self._looks.get(job, (0.0, None))
        if look is None or (look.done() and now - began > BEAT_S * 0.9):
            look = self._look(database, job, now)
        return await asyncio.shield(look)

    def _look(self, database: Database, job: UUID, now: float) -> asyncio.Task[VideoStatus]:
        look = asyncio.create_task(current(database, job))
        look.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may have waited for it
        self._looks = {known: entry for known, entry in self._looks.items() if now - entry[0] < KEPT_S}
        self._looks[job] = (now, look)
        return look

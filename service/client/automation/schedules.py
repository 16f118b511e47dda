"""Schedules: renders that are asked for at the times of a cron line, and their runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Unpack
from uuid import UUID

from service.client.entity import Entity, find_named, find_or_create, require_one_named
from service.client.errors import Conflict
from service.client.experiments import is_id
from service.client.fields import NewSchedule, ScheduleChange, ScheduleFields, ScheduleRunFields
from service.client.renders import AsyncRender
from service.client.requests import require_object

if TYPE_CHECKING:
    from service.client.transport import Transport

PAGE = 100


class AsyncSchedules:
    """The caller's schedules; admins see those of all."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def list(
        self, *, experiment_id: UUID | str | None = None, mine: bool = False
    ) -> AsyncIterator[AsyncSchedule]:
        """Newest first."""
        query = {"experiment_id": experiment_id, "mine": mine or None, "limit": PAGE}
        async for row in self._transport.rows("/api/schedules", query):
            yield AsyncSchedule(self._transport, row)

    async def get(self, name: UUID | str) -> AsyncSchedule:
        """By id or name; the caller's own before those of others. Raises NotFound, and to admins Conflict if several
        others have one of this name."""
        if is_id(name):
            row = await self._transport.call("get_schedule", schedule_id=name)
            return AsyncSchedule(self._transport, require_object(row))
        own = await self._find_own(str(name))
        return own or await require_one_named(str(name), "schedule", self.list())

    async def create(self, name: str, **fields: Unpack[NewSchedule]) -> AsyncSchedule:
        """`request` is the body of `POST /api/videos/generate`, as `dataset.render_request` makes it. Raises Conflict,
        Invalid, NotFound."""
        row = await self._transport.call("make_schedule", body={"name": name} | fields)
        return AsyncSchedule(self._transport, require_object(row))

    async def get_or_create(self, name: str, **fields: Unpack[NewSchedule]) -> AsyncSchedule:
        """The caller's own schedule of this name: as it is, or made of `fields` if it is missing."""
        return await find_or_create(lambda: self._find_own(name), lambda: self.create(name, **fields))

    async def _find_own(self, name: str) -> AsyncSchedule | None:
        return await find_named(name, self.list(mine=True))


class AsyncSchedule(Entity, ScheduleFields):
    """A render that is asked for again and again."""

    async def refresh(self) -> None:
        self.fields = require_object(await self._transport.call("get_schedule", schedule_id=self.id))

    async def runs(self) -> AsyncIterator[AsyncScheduleRun]:
        """The latest first."""
        async for row in self._transport.rows(f"/api/schedules/{self.id}/runs", {"limit": PAGE}):
            yield AsyncScheduleRun(self._transport, row)

    async def run(self) -> AsyncScheduleRun:
        """Ask for its render now, also while it is off; its times stay as they are. Raises Refused as a render does."""
        row = await self._transport.call("run_schedule", schedule_id=self.id)
        return AsyncScheduleRun(self._transport, require_object(row))

    async def change(self, **fields: Unpack[ScheduleChange]) -> None:
        """`enabled=False` switches it off; `request` is replaced as a whole."""
        row = await self._transport.call("change_schedule", schedule_id=self.id, body=fields)
        self.fields = require_object(row)

    async def delete(self) -> None:
        """With the list of its runs; their renders stay."""
        await self._transport.call("delete_schedule", schedule_id=self.id)


class AsyncScheduleRun(Entity, ScheduleRunFields):
    """One run of a schedule: what it asked for, or why it was refused."""

    async def render(self) -> AsyncRender:
        """Raises Conflict if it waits or was refused, NotFound if the render was deleted."""
        if self.job_id is None:
            reason = f": {self.problem['detail']}" if self.problem else ""
            raise Conflict(409, {"detail": f"the run has no render, it is {self.state}{reason}"})
        row = await self._transport.call("get_video", job_id=self.job_id)
        return AsyncRender(self._transport, require_object(row))

"""Runs the schedules whose time has come. Every API process does; the database gives each time to one of them."""

from datetime import datetime

from sqlalchemy import RowMapping

from service.periodic import PeriodicTask
from service.routers.http.dependencies import Resources
from service.routers.schedules.submission import try_run
from service.store.schedules import runs
from service.telemetry.metrics import SCHEDULE_TIMES_MISSED

# A schedule begins up to this late.
INTERVAL_S = 5.0


class ScheduleRunner:
    """Makes runs of times that have come, and renders of runs. `now` is for tests."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def periodic_task(self) -> PeriodicTask:
        return PeriodicTask("running of schedules", INTERVAL_S, self.run_due)

    async def run_due(self, now: datetime | None = None) -> None:
        """All that is due. What fails is tried again by the next call, of whichever process."""
        while await self._claim(now) is not None:
            pass
        async with self._resources.database.service_transaction() as connection:
            waiting = await runs.list_waiting(connection, now)
        for run in waiting:
            await try_run(self._resources, run, now)

    async def _claim(self, now: datetime | None) -> RowMapping | None:
        async with self._resources.database.service_transaction() as connection:
            run = await runs.claim_due_run(connection, now)
        if run is not None:
            SCHEDULE_TIMES_MISSED.inc(run["missed"])
        return run

"""Runs an action at a fixed interval for as long as its process runs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger("periodic")


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """`name` opens its log messages. It first waits for one interval, unless `starts_at_once` is set."""

    name: str
    interval_s: float
    action: Callable[[], Awaitable[None]]
    starts_at_once: bool = False


async def run_periodically(task: PeriodicTask) -> None:
    """Run until cancelled. A failed run is logged, and tried again after the interval.

    Only the first of several failures in a row is a warning, so that an outage does not flood the log.
    """
    failing = False
    if not task.starts_at_once:
        await asyncio.sleep(task.interval_s)
    while True:
        try:
            await task.action()
        except Exception as error:
            report = log.debug if failing else log.warning
            report(f"{task.name} failed", reason=f"{type(error).__name__}: {error}")
            failing = True
        else:
            if failing:
                log.info(f"{task.name} works again")
            failing = False
        await asyncio.sleep(task.interval_s)

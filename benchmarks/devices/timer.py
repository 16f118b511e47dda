"""Timing of a task on a pool of workers: one cold call, then warm ones, within a time budget."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.devices.energy import EnergyMeter, joules_per_frame
from benchmarks.devices.measurement import Measurement
from benchmarks.devices.parity import Parity
from benchmarks.devices.worker_pool import Task, WorkerPool, WorkerPoolError

GRACE_S, MAX_CALL_S = 45.0, 120.0


class BudgetExceededError(Exception):
    """Nothing more is begun; the text says why."""


class TimeBudget:
    """Counts from when it is made."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def next_timeout(self) -> float:
        """Seconds that a call begun now may take: it ends soon after the whole, and does not use it all up by hanging.
        Raises Spent."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise BudgetExceededError(f"not measured: the {self._seconds:g} s of --seconds were spent")
        return min(left + GRACE_S, MAX_CALL_S)


MAX_FRAMES = 100_000


@dataclass(frozen=True, slots=True)
class TimedTask:
    """A task with all of its arguments but the last, the number of frames, a multiple of `step`; `warm` frames each
    time (None: as many as take the clock's time)."""

    task: Task
    arguments: tuple[Any, ...]
    step: int = 8
    warm: int | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkTimer:
    """`each` is about how many seconds a repetition takes."""

    repetitions: int
    each: float
    budget: TimeBudget
    energy: EnergyMeter

    def measure(
        self, pool: WorkerPool, measurement: Measurement, work: TimedTask, compare: Callable[[], Parity] | None = None
    ) -> Measurement:
        """The figure with its times, or why there are none. The gate comes last: it would warm up what is cold."""
        try:
            pool.call_all(work.task, *work.arguments, 0, seconds=self.budget.next_timeout())  # makes the inputs
            timed = self._time(pool, measurement, work)
            return replace(timed, parity=compare() if compare else None)
        except (BudgetExceededError, WorkerPoolError) as reason:
            return replace(measurement, absent=str(reason))

    def call_first(self, pool: WorkerPool, task: Task, *given: Any) -> Any:
        """What the first member answers. Raises Spent and CrewFault."""
        return pool.call_first(task, *given, seconds=self.budget.next_timeout())

    def _time(self, pool: WorkerPool, measurement: Measurement, work: TimedTask) -> Measurement:
        first = work.warm or work.step
        cold, made = self._call(pool, work, first)
        frames = work.warm or self._frames_to_time(self._call(pool, work, first)[0], first)
        before, all_frames = self.energy.read(), frames * len(pool)
        rates = tuple(all_frames / self._call(pool, work, frames)[0] for _ in range(self.repetitions))
        joules = joules_per_frame(self.energy.read, before, all_frames * self.repetitions)
        if made is not None:
            measurement = replace(measurement, bytes_out=made // first)
        measurement = replace(measurement, workers=len(pool), cold_s=cold, first_frames=first * len(pool))
        return replace(measurement, rates=rates, joules=joules)

    def _frames_to_time(self, seconds: float, frames: int) -> int:
        """A multiple of the frames that took so many seconds."""
        return min(max(round(self.each / seconds), 1), MAX_FRAMES // frames or 1) * frames

    def _call(self, pool: WorkerPool, work: TimedTask, frames: int) -> tuple[float, int | None]:
        """(seconds, bytes of what the first member made, where the task counts them)."""
        patience = self.budget.next_timeout()
        begin = time.perf_counter()
        made = pool.call_all(work.task, *work.arguments, frames, seconds=patience)
        return time.perf_counter() - begin, made[0]

"""Time a task on a pool of workers: one cold call, then warm ones, within a time budget."""

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
    """The time budget is used up; the text says so."""


class TimeBudget:
    """A time limit that starts when it is created."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def next_timeout(self) -> float:
        """Timeout of a call that starts now: shortly after the end of the budget, and never long enough for a hanging
        call to use all of it. Raises BudgetExceededError."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise BudgetExceededError(f"not measured: the {self._seconds:g} s of --seconds were used up")
        return min(left + GRACE_S, MAX_CALL_S)


MAX_FRAMES = 100_000


@dataclass(frozen=True, slots=True)
class TimedTask:
    """A task and its arguments, except for the last one: the number of frames, a multiple of `step`.

    `warm`: frames per warm repetition; None: as many as the timer's `each` seconds allow."""

    task: Task
    arguments: tuple[Any, ...]
    step: int = 8
    warm: int | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkTimer:
    """`each`: seconds that a repetition should take."""

    repetitions: int
    each: float
    budget: TimeBudget
    energy: EnergyMeter

    def measure(
        self, pool: WorkerPool, measurement: Measurement, work: TimedTask, compare: Callable[[], Parity] | None = None
    ) -> Measurement:
        """The measurement with its times, or the reason for having none. Parity is checked last: it would warm up."""
        try:
            pool.call_all(work.task, *work.arguments, 0, seconds=self.budget.next_timeout())  # prepares the inputs
            timed = self._time(pool, measurement, work)
            return replace(timed, parity=compare() if compare else None)
        except (BudgetExceededError, WorkerPoolError) as reason:
            return replace(measurement, absent_reason=str(reason))

    def call_first(self, pool: WorkerPool, task: Task, *given: Any) -> Any:
        """The first worker's result. Raises BudgetExceededError, WorkerPoolError."""
        return pool.call_first(task, *given, seconds=self.budget.next_timeout())

    def _time(self, pool: WorkerPool, measurement: Measurement, work: TimedTask) -> Measurement:
        first = work.warm or work.step
        cold, output_bytes = self._call(pool, work, first)
        frames = work.warm or self._frames_to_time(self._call(pool, work, first)[0], first)
        before, all_frames = self.energy.read(), frames * len(pool)
        rates = tuple(all_frames / self._call(pool, work, frames)[0] for _ in range(self.repetitions))
        joules = joules_per_frame(self.energy.read, before, all_frames * self.repetitions)
        return replace(
            measurement,
            workers=len(pool),
            cold_s=cold,
            first_frames=first * len(pool),
            rates=rates,
            joules=joules,
            bytes_out=measurement.bytes_out if output_bytes is None else output_bytes // first,
        )

    def _frames_to_time(self, seconds: float, frames: int) -> int:
        """Frames for about `each` seconds: a multiple of `frames`, which took `seconds`."""
        return min(max(round(self.each / seconds), 1), MAX_FRAMES // frames or 1) * frames

    def _call(self, pool: WorkerPool, work: TimedTask, frames: int) -> tuple[float, int | None]:
        """(seconds, bytes of the first worker's output, if the task counts them)."""
        timeout = self.budget.next_timeout()
        start = time.perf_counter()
        results = pool.call_all(work.task, *work.arguments, frames, seconds=timeout)
        return time.perf_counter() - start, results[0]

"""One cold call and several warm ones of the same work, by all members of a crew at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.devices.budget import Budget, Spent
from benchmarks.devices.crew import Crew, CrewFault, Task
from benchmarks.devices.energy import Energy, spent
from benchmarks.devices.figure import Figure
from benchmarks.devices.gate import Parity

MOST_FRAMES = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """A task with all of its arguments but the last, the number of frames, a multiple of `step`; `warm` frames each
    time (None: as many as take the clock's time)."""

    task: Task
    given: tuple[Any, ...]
    step: int = 8
    warm: int | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """`each` is about how many seconds a repetition takes."""

    repetitions: int
    each: float
    budget: Budget
    energy: Energy

    def measured(self, crew: Crew, figure: Figure, work: Work, gate: Callable[[], Parity] | None = None) -> Figure:
        """The figure with its times, or why there are none. The gate comes last: it would warm up what is cold."""
        try:
            crew.all(work.task, *work.given, 0, seconds=self.budget.claim())  # makes the inputs
            timed = self._timed(crew, figure, work)
            return replace(timed, parity=gate() if gate else None)
        except (Spent, CrewFault) as reason:
            return replace(figure, absent=str(reason))

    def ask(self, crew: Crew, task: Task, *given: Any) -> Any:
        """What the first member answers. Raises Spent and CrewFault."""
        return crew.one(task, *given, seconds=self.budget.claim())

    def _timed(self, crew: Crew, figure: Figure, work: Work) -> Figure:
        first = work.warm or work.step
        cold, made = self._called(crew, work, first)
        frames = work.warm or self._fitting(self._called(crew, work, first)[0], first)
        before, all_frames = self.energy.read(), frames * len(crew)
        rates = tuple(all_frames / self._called(crew, work, frames)[0] for _ in range(self.repetitions))
        joules = spent(self.energy.read, before, all_frames * self.repetitions)
        if made is not None:
            figure = replace(figure, bytes_out=made // first)
        figure = replace(figure, workers=len(crew), cold_s=cold, first_frames=first * len(crew))
        return replace(figure, rates=rates, joules=joules)

    def _fitting(self, seconds: float, frames: int) -> int:
        """A multiple of the frames that took so many seconds."""
        return min(max(round(self.each / seconds), 1), MOST_FRAMES // frames or 1) * frames

    def _called(self, crew: Crew, work: Work, frames: int) -> tuple[float, int | None]:
        """(seconds, bytes of what the first member made, where the task counts them)."""
        patience = self.budget.claim()
        begin = time.perf_counter()
        made = crew.all(work.task, *work.given, frames, seconds=patience)
        return time.perf_counter() - begin, made[0]

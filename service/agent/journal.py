"""What was done for an answer, step by step, for the one who asked."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from service.agent.models import Unusable
from service.errors import Refused, TimedOut, Unavailable

StepName = Literal["common", "classify", "document", "query", "render", "words"]
Outcome = Literal["done", "not_found", "refused", "unusable", "timed_out", "unavailable", "failed"]
FAILURES: tuple[tuple[type[BaseException], Outcome], ...] = (
    (asyncio.CancelledError, "timed_out"),
    (Unusable, "unusable"),
    (Refused, "refused"),
    (TimedOut, "timed_out"),
    (Unavailable, "unavailable"),
)


@dataclass(slots=True)
class Step:
    """One step; `outcome` and `detail` are written while it runs."""

    name: StepName
    model: str | None = None
    ms: float = 0
    outcome: Outcome = "done"
    detail: str = ""


@dataclass(slots=True)
class Journal:
    """The steps in order; one that fails is kept."""

    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: StepName, model: str | None = None) -> Iterator[Step]:
        started, step = time.perf_counter(), Step(name, model)
        self.steps.append(step)
        try:
            yield step
        except BaseException as error:
            step.outcome = next((outcome for kind, outcome in FAILURES if isinstance(error, kind)), "failed")
            step.detail = str(error) if step.outcome != "failed" else ""
            raise
        finally:
            step.ms = round((time.perf_counter() - started) * 1000, 1)

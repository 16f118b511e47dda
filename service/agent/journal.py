"""What was done for an answer, step by step, for the one who asked."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from service.agent.models import UnusableOutput
from service.errors import GatewayTimeout, QueryRefusal, ServiceUnavailable

StepName = Literal["common", "classify", "document", "query", "render", "words"]
StepOutcome = Literal["done", "not_found", "refused", "unusable", "timed_out", "unavailable", "failed"]
OUTCOME_BY_ERROR: tuple[tuple[type[BaseException], StepOutcome], ...] = (
    (asyncio.CancelledError, "timed_out"),
    (UnusableOutput, "unusable"),
    (QueryRefusal, "refused"),
    (GatewayTimeout, "timed_out"),
    (ServiceUnavailable, "unavailable"),
)


@dataclass(slots=True)
class TraceStep:
    """One step; `outcome` and `detail` are written while it runs."""

    name: StepName
    model: str | None = None
    ms: float = 0
    outcome: StepOutcome = "done"
    detail: str = ""


@dataclass(slots=True)
class Trace:
    """The steps in order; one that fails is kept."""

    steps: list[TraceStep] = field(default_factory=list)

    @contextmanager
    def record_step(self, name: StepName, model: str | None = None) -> Iterator[TraceStep]:
        started, step = time.perf_counter(), TraceStep(name, model)
        self.steps.append(step)
        try:
            yield step
        except BaseException as error:
            step.outcome = next((outcome for kind, outcome in OUTCOME_BY_ERROR if isinstance(error, kind)), "failed")
            step.detail = str(error) if step.outcome != "failed" else ""
            raise
        finally:
            step.ms = round((time.perf_counter() - started) * 1000, 1)

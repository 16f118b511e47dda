"""How long each stage of a query took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._stages: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Also the time of a stage that fails is kept."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages[name] = time.perf_counter() - started

    def server_timing(self) -> str:
        """The value of a `Server-Timing` header: the stages so far and the total, in milliseconds."""
        stages = {**self._stages, "total": self.seconds}
        return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in stages.items())

"""Wall seconds per pipeline stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Sums up named spans; `seconds` maps stage -> wall seconds."""

    def __init__(self, *stages: str) -> None:
        self.seconds = dict.fromkeys(stages, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

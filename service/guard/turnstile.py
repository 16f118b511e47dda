"""How many queries each caller has running in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.ids import Subject


class ConcurrencyCounter:
    """Counts; holds nobody up. Callers without running queries take no memory."""

    def __init__(self) -> None:
        self._running: Counter[Subject] = Counter()

    @contextmanager
    def track(self, subject: Subject) -> Iterator[int]:
        """How many run now, this one included."""
        self._running[subject] += 1
        try:
            yield self._running[subject]
        finally:
            self._running[subject] -= 1
            if not self._running[subject]:
                del self._running[subject]

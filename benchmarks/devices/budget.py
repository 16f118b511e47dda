"""The time that the whole comparison may take."""

import time


class Spent(Exception):
    """Nothing more is begun; the text says why."""


class Budget:
    """Counts from when it is made."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()

    def claim(self) -> float:
        """Seconds that are left. Raises Spent."""
        left = self.left()
        if left <= 0:
            raise Spent(f"not measured: the {self._seconds:g} s of --seconds were spent")
        return left

"""The time that the whole comparison may take."""

import time

GRACE_S, LONGEST_S = 45.0, 120.0


class Spent(Exception):
    """Nothing more is begun; the text says why."""


class Budget:
    """Counts from when it is made."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def claim(self) -> float:
        """Seconds that a call begun now may take: it ends soon after the whole, and does not use it all up by hanging.
        Raises Spent."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Spent(f"not measured: the {self._seconds:g} s of --seconds were spent")
        return min(left + GRACE_S, LONGEST_S)

"""The time that the whole comparison may take."""

import time

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

"""Tells a process that hangs while it starts from one that is slow, on a machine that is busy."""

import time
from pathlib import Path

# A process that starts and has neither run nor waited for a core for so long hangs.
STALL_S = 12.0


class StartWatch:
    """Watches one process from its start on. Ask it at least every few seconds."""

    def __init__(self, pid: int) -> None:
        self._schedstat = Path(f"/proc/{pid}/schedstat")
        self._activity, self._active_at = self._read_activity(), time.monotonic()

    def is_stalled(self) -> bool:
        """Never true where the kernel does not count (schedstat), or of a process that has ended."""
        activity = self._read_activity()
        if activity is None or activity != self._activity:
            self._activity, self._active_at = activity, time.monotonic()
        return time.monotonic() - self._active_at >= STALL_S

    def _read_activity(self) -> tuple[int, int] | None:
        """Nanoseconds for which its main thread has run, and for which it was ready and waited for a core."""
        try:
            ran, waited, _ = self._schedstat.read_text().split()
        except (OSError, ValueError):
            return None
        return int(ran), int(waited)

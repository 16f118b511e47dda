"""Tells a process that hangs while it starts from one that is slow, on a machine or a disk that is busy."""

import time
from pathlib import Path

# A process that starts, and for so long has neither run nor waited for a core or a disk, hangs.
STALL_S = 12.0


class StartWatch:
    """Watches one process from its start on. Ask it at least every few seconds."""

    def __init__(self, pid: int) -> None:
        self._stat = Path(f"/proc/{pid}/stat")
        self._spent, self._active_at = self._read_spent(), time.monotonic()

    def is_stalled(self) -> bool:
        """Never true of a process that has ended, or that cannot be looked at."""
        spent = self._read_spent()
        if spent is None or spent != self._spent:
            self._spent, self._active_at = spent, time.monotonic()
        return time.monotonic() - self._active_at >= STALL_S

    def _read_spent(self) -> tuple[int, int] | None:
        """Clock ticks that it has spent for itself and in the kernel; None if it is about to run or waits for a disk:
        proc(5), `state`, `utime` and `stime`."""
        try:
            state, *numbers = self._stat.read_text().rpartition(")")[2].split()
            return None if state in "RD" else (int(numbers[10]), int(numbers[11]))
        except (OSError, ValueError, IndexError):
            return None

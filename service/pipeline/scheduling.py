"""What a library may not decide: how this process is scheduled."""

import os
import sys
from contextlib import suppress
from pathlib import Path


def reset_scheduler() -> None:
    """Put every thread of this process back under the ordinary scheduler.

    SVT-AV1, run by root, gives its threads and its caller's real-time priority 99 (SCHED_FIFO): they, and every process
    started later, would keep the cores from all others, the API first of all. With two cores taken, the kernel itself
    was seen to hang.
    """
    if not sys.platform.startswith("linux"):
        return
    for thread in (int(task.name) for task in Path("/proc/self/task").iterdir()):
        with suppress(ProcessLookupError):
            if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))

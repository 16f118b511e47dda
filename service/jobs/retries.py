"""How attempts are repeated that did not succeed: by class of error, with growing gaps that differ by chance.

docs/operation.md has the table for operators. A code that is not here is the task's own fault."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

# A task that was attempted this often and never ended, by its own fault, is poison.
MAX_ATTEMPTS = 3
# Gaps are longer or shorter by up to this part, so that tasks which failed together do not come back together.
JITTER = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryClass:
    """What becomes of a task after an attempt that ended with one of these codes.

    `is_strike`: it counts against the task, which has MAX_ATTEMPTS of these. `most`: as poison counts, too, what has
    ended so this often; None: never. The gap before the next attempt begins with `first_s` and doubles, up to
    `longest_s`; or it is the next of `gaps_s`, after the last of which the task has failed.
    """

    is_strike: bool = False
    most: int | None = None
    first_s: float = 0.4
    longest_s: float = 10.0
    gaps_s: Sequence[float] = ()

    def gap_s(self, attempt: int) -> float | None:
        """Seconds between the attempt of this number, from 1, and the next one. None: there is no next one."""
        if self.gaps_s and attempt > len(self.gaps_s):
            return None
        gap = self.gaps_s[attempt - 1] if self.gaps_s else min(self.first_s * 2 ** min(attempt - 1, 30), self.longest_s)
        return gap * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (no secret)


OWN_FAULT = RetryClass(is_strike=True)
INFRASTRUCTURE = RetryClass()
# What is full does not empty by itself, and each attempt renders the segment in vain.
FULL = RetryClass(longest_s=300.0)
# A slot that is killed from outside may have been killed for what its task needs, by the kernel for example, which has
# no other way to say that there is no memory left. So often it is taken for chance.
KILLED = RetryClass(most=10)
# With the first attempt there are eight, spread over a day.
UNDELIVERED = RetryClass(is_strike=True, gaps_s=(5, 30, 120, 600, 3600, 6 * 3600, 18 * 3600))
# A segment that was written, and is gone or damaged when it is read. A store that is broken for a moment is waited for.
LOST = RetryClass(gaps_s=(0.4, 5, 30))

CLASSES = MappingProxyType(
    {
        "store_unavailable": INFRASTRUCTURE,
        "clock_skewed": INFRASTRUCTURE,
        "worker_stopped": INFRASTRUCTURE,
        "worker_lost": INFRASTRUCTURE,
        "store_loses_objects": LOST,
        "store_full": FULL,
        "scratch_full": FULL,
        "slot_killed": KILLED,
        "slot_died": OWN_FAULT,
        "hang": OWN_FAULT,
        "device_lost": OWN_FAULT,
        "untrusted": OWN_FAULT,
        "unexpected": OWN_FAULT,
        "undelivered": UNDELIVERED,
    }
)


def retry_class(code: str) -> RetryClass:
    return CLASSES.get(code, OWN_FAULT)

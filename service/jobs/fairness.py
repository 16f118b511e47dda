"""Whose turn it is: callers share the slots of a worker equally, however much each of them has queued."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from service.ids import RenderId, TaskId

# Work that was done for a caller counts half after this time: whoever waited is not owed for ever.
HALF_LIFE_S = 60.0
FORGOTTEN = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a caller would have done next: the next task of a render, or one task.

    `level` is the priority, raised by waiting; `busy` counts the tasks of the caller that are running, in all workers.
    """

    owner: str
    level: int = 0
    busy: int = 0
    render: RenderId | None = None
    task: TaskId | None = None


@dataclass(slots=True)
class _Service:
    """What a caller has had: work until `at`, and the number of the last turn."""

    work: float
    at: float
    turn: int


class Turns:
    """Remembers what this worker did for each caller, and puts candidates in the order in which they are served.

    The highest level comes first. Within a level it is the caller with the fewest running tasks, then the one for whom
    this worker has worked least lately, then the one whose turn was longest ago. So among callers who always have
    something queued at the same level, none gets a second turn before each of the others has had one of like size.

    Work has any unit that tells how long a slot is busy with it. It should be known beforehand: of equal tasks one may
    take longer by chance, and that is nobody's fault.
    """

    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}
        self._numbers = count(1)

    def order(self, candidates: Iterable[Candidate], now: float) -> list[Candidate]:
        """The next to be served first; `now` in seconds of a monotonic clock."""
        self._forget(now)
        return sorted(candidates, key=lambda each: (-each.level, each.busy, *self._had(each.owner, now), each.owner))

    def start(self, owner: str, work: float, now: float) -> None:
        """A turn of the caller begins, with so much work as is known."""
        self.add(owner, work, now)
        self._services[owner].turn = next(self._numbers)

    def add(self, owner: str, work: float, now: float) -> None:
        """The turn was more work than was known."""
        service = self._services.setdefault(owner, _Service(0.0, now, 0))
        service.work, service.at = self._work_left(service, now) + work, now

    def _had(self, owner: str, now: float) -> tuple[float, int]:
        service = self._services.get(owner)
        return (0.0, 0) if service is None else (self._work_left(service, now), service.turn)

    def _work_left(self, service: _Service, now: float) -> float:
        work: float = service.work * 0.5 ** ((now - service.at) / HALF_LIFE_S)
        return work

    def _forget(self, now: float) -> None:
        """Callers who have had nothing for long are as those who never came."""
        for owner, service in list(self._services.items()):
            if now - service.at > HALF_LIFE_S and self._work_left(service, now) < FORGOTTEN:
                del self._services[owner]

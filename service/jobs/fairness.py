"""Whose turn it is: callers share the slots by their weights, however much each of them has queued."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count

from service.ids import RenderId, TaskId

# Work that was done for a caller counts half after this time: whoever waited is not owed for ever.
HALF_LIFE_S = 60.0
FORGOTTEN = 1e-3
# A caller of the least weight still has a turn after some minutes beside one of the greatest: see HALF_LIFE_S.
DEFAULT_WEIGHT, MIN_WEIGHT, MAX_WEIGHT = 1.0, 0.01, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a caller would have done next: the next task of a render, or one task.

    `priority` is the highest that the caller has asked for, `level` that of the candidate, raised by waiting. `busy`
    counts the tasks of the caller that are running, in all workers. `small`: it is soon done.
    """

    owner: str
    priority: int = 0
    level: int = 0
    busy: int = 0
    small: bool = False
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

    A caller's share of the slots, and of the work, is its weight among those of the callers who wait. In this order:

    1. The highest level. It counts only for a caller who has had no more than its share of the work lately; for others
       it is their priority. So waiting helps those who are passed over, and not those who have much queued.
    2. Callers who run fewer tasks than their share of the slots.
    3. Small ones of callers who have had no more than their share of the work lately.
    4. The caller for whom this worker has worked least lately, by weight; then the one whose turn was longest ago.

    So among callers who always have something queued at the same priority, the work goes by weight, and nobody waits
    for ever: who is passed over comes ever nearer to the front.

    Work has any unit that tells how long a slot is busy with it. It should be known beforehand: of equal tasks one may
    take longer by chance, and that is nobody's fault.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = weights or {}
        self._services: dict[str, _Service] = {}
        self._numbers = count(1)

    def order(self, candidates: Iterable[Candidate], now: float) -> list[Candidate]:
        """The next to be served first; `now` in seconds of a monotonic clock."""
        self._forget(now)
        waiting = list(candidates)
        weights = {each.owner: self._weight(each.owner) for each in waiting}
        slots_a_weight = (sum(each.busy for each in waiting) + 1) / (sum(weights.values()) or 1)
        had = {owner: self._had(owner, now) for owner in weights}
        fair = sum(had.values()) / (sum(weights.values()) or 1)

        def key(each: Candidate) -> tuple[int, bool, bool, float, int, str]:
            weight, work = weights[each.owner], had[each.owner]
            is_owed = work <= weight * fair
            level = each.level if is_owed else min(each.level, each.priority)
            over_share = each.busy >= weight * slots_a_weight
            return -level, over_share, not (each.small and is_owed), work / weight, self._turn(each.owner), each.owner

        return sorted(waiting, key=key)

    def start(self, owner: str, work: float, now: float) -> None:
        """A turn of the caller begins, with so much work as is known."""
        self.add(owner, work, now)
        self._services[owner].turn = next(self._numbers)

    def add(self, owner: str, work: float, now: float) -> None:
        """The turn was more work than was known."""
        service = self._services.setdefault(owner, _Service(0.0, now, 0))
        service.work, service.at = self._work_left(service, now) + work, now

    def _weight(self, owner: str) -> float:
        return self._weights.get(owner, DEFAULT_WEIGHT)

    def _had(self, owner: str, now: float) -> float:
        service = self._services.get(owner)
        return 0.0 if service is None else self._work_left(service, now)

    def _turn(self, owner: str) -> int:
        service = self._services.get(owner)
        return 0 if service is None else service.turn

    def _work_left(self, service: _Service, now: float) -> float:
        work: float = service.work * 0.5 ** ((now - service.at) / HALF_LIFE_S)
        return work

    def _forget(self, now: float) -> None:
        """Callers who have had nothing for long are as those who never came."""
        for owner, service in list(self._services.items()):
            if now - service.at > HALF_LIFE_S and self._work_left(service, now) < FORGOTTEN:
                del self._services[owner]


def parse_weights(value: str) -> dict[str, float]:
    """Parse `alice=2,batch=0.5`, or the same as a JSON object. Raises ValueError, which repeats no value."""
    entries = _json_entries(value) if value.lstrip().startswith("{") else _list_entries(value)
    weights: dict[str, float] = {}
    for number, (subject, weight) in enumerate(entries, 1):
        if not subject or subject in weights:
            raise ValueError(f"entry {number} names no subject, or one that is named before")
        weights[subject] = _to_weight(weight, number)
    return weights


def _json_entries(value: str) -> list[tuple[str, object]]:
    try:
        return list(json.loads(value, object_pairs_hook=list))
    except (ValueError, RecursionError) as error:
        raise ValueError("it begins with { but is not a JSON object") from error


def _list_entries(value: str) -> list[tuple[str, object]]:
    entries = [part.strip().rpartition("=") for part in value.split(",") if part.strip()]
    return [(subject.strip(), weight) for subject, _, weight in entries]


def _to_weight(value: object, number: int) -> float:
    try:
        weight = float(value) if isinstance(value, str | int | float) and value is not True else math.nan
    except (ValueError, OverflowError):
        weight = math.nan
    if not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise ValueError(f"entry {number}: write subject=weight, with a weight from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}")
    return weight

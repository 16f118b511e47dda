"""Picks the next task for a worker: whose turn it is, of those who were seen to wait lately.

To list who waits takes PostgreSQL as long as to take several tasks, so a busy worker does it once for several."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from service.jobs import picking
from service.jobs.fairness import Candidate, Turns
from service.jobs.leases import Lease, TaskKind
from service.jobs.picking import Lane
from service.jobs.queue import POLL_INTERVAL_S, WakeUpCall
from service.jobs.routing import Taker

# So long a listing is used: the longest for which a busy worker overlooks a task that became due meanwhile.
LISTING_S = 5.0
# Candidates that are tried for one slot: other workers may take the first of them at the same moment.
MAX_TRIES = 5


@dataclass(frozen=True, slots=True)
class Picked:
    """A task that was taken, for whom, and from which lane."""

    lane: Lane
    owner: str
    lease: Lease


@dataclass(frozen=True, slots=True)
class _Listing:
    """Who waited at some time; `busy` of the candidates leaves out what this worker ran itself."""

    candidates: Sequence[Candidate]
    at: float
    rings: int


_Key = tuple[Lane, frozenset[str], frozenset[TaskKind]]


class Picker:
    """Picks tasks for one worker, in the order of its `turns`.

    A listing is used until LISTING_S have passed, until `wake_up` rings, or until the candidate whose turn it is has
    nothing left. So nobody is overlooked who has come since; and nothing is taken that another worker has, that was
    cancelled or that a newer version has begun, because `picking.take` looks at the task itself.
    """

    def __init__(self, turns: Turns, wake_up: WakeUpCall) -> None:
        self._turns, self._wake_up = turns, wake_up
        self._listings: dict[_Key, _Listing] = {}

    async def pick(
        self,
        connection: AsyncConnection,
        lanes: Iterable[tuple[Lane, Collection[TaskKind]]],
        taker: Taker,
        running: Mapping[str, int],
        now: float,
    ) -> Picked | None:
        """The next task, from the first of these lanes that has one; each comes with the kinds of tasks to leave there.

        `running` counts the tasks of each caller that the worker runs; `now` in seconds of a monotonic clock. None:
        nothing waits that the taker may take and can do, or others took it at this moment.
        """
        for lane, except_kinds in lanes:
            key = lane, taker.offers, frozenset(except_kinds)
            if (recent := self._recent(key, now)) is not None:
                first = self._in_order(recent, running, now)[:1]
                if not first:
                    continue
                if picked := await _take_any(connection, lane, first, taker):
                    return picked
            rings = self._wake_up.rings
            found = await picking.list_candidates(connection, lane, taker, except_kinds=except_kinds)
            listing = self._listings[key] = _Listing(_add_busy(found, running, -1), now, rings)
            if picked := await _take_any(connection, lane, self._in_order(listing, running, now)[:MAX_TRIES], taker):
                return picked
        return None

    def _in_order(self, listing: _Listing, running: Mapping[str, int], now: float) -> list[Candidate]:
        return self._turns.order(_add_busy(listing.candidates, running), now)

    def _recent(self, key: _Key, now: float) -> _Listing | None:
        """The last listing if it is still good. Where nothing can be listened to, and for a listing that names nobody,
        that is no longer than it takes a worker to look again. One of urgent tasks names each of them once."""
        listing = self._listings.get(key)
        if listing is None or listing.rings != self._wake_up.rings or (listing.candidates and key[0] != "render"):
            return None
        is_notified = self._wake_up.is_listening and listing.candidates
        return listing if now - listing.at < (LISTING_S if is_notified else POLL_INTERVAL_S) else None


def _add_busy(candidates: Iterable[Candidate], running: Mapping[str, int], sign: int = 1) -> list[Candidate]:
    return [
        replace(each, busy=max(0, each.busy + sign * running[each.owner])) if each.owner in running else each
        for each in candidates
    ]


async def _take_any(
    connection: AsyncConnection, lane: Lane, candidates: Iterable[Candidate], taker: Taker
) -> Picked | None:
    """A task of the first of these that still has one."""
    for candidate in candidates:
        if (lease := await picking.take(connection, candidate, taker)) is not None:
            return Picked(lane, candidate.owner, lease)
    return None

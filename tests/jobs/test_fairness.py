"""Callers share the slots of a worker equally, and nobody waits for ever: simulated hours, no real time."""

import heapq
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from service.jobs.fairness import HALF_LIFE_S, Candidate, Turns


@dataclass
class Simulation:
    """A worker whose callers always have something queued; tasks of a caller take as long as `seconds` says."""

    seconds: dict[str, float]
    slots: int
    levels: dict[str, int] = field(default_factory=dict)
    served: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)

    def run(self, until: float) -> None:
        turns, running, now = Turns(), list[tuple[float, str]](), 0.0
        while now < until:
            while len(running) < self.slots:
                busy = Counter(owner for _, owner in running)
                waiting = [
                    Candidate(owner=owner, busy=busy[owner], level=self.levels.get(owner, 0)) for owner in self.seconds
                ]
                owner = turns.order(waiting, now)[0].owner
                turns.start(owner, self.seconds[owner], now)
                self.order.append(owner)
                heapq.heappush(running, (now + self.seconds[owner], owner))
            now, owner = heapq.heappop(running)
            self.served[owner] += 1
            self.used[owner] += self.seconds[owner]


@given(
    st.dictionaries(st.text(min_size=1, max_size=3), st.floats(0.1, 3), min_size=2, max_size=10),
    st.integers(1, 8),
)
def test_callers_get_equal_time(seconds: dict[str, float], slots: int) -> None:
    simulation = Simulation(seconds, slots)
    simulation.run(until=600)
    fair = sum(simulation.used.values()) / len(seconds)
    if slots <= len(seconds):
        assert min(simulation.used.values()) >= 0.8 * fair


@given(st.integers(1, 8), st.integers(2, 20))
def test_nobody_has_a_second_turn_before_everybody_had_one(slots: int, callers: int) -> None:
    simulation = Simulation({f"caller {number}": 1.0 for number in range(callers)}, slots)
    simulation.run(until=3 * callers / slots)
    assert len(set(simulation.order[:callers])) == callers


@given(st.floats(0.1, 60), st.integers(1, 4))
def test_a_caller_who_comes_late_is_next(heavy: float, slots: int) -> None:
    turns = Turns()
    for number in range(50):
        turns.start("heavy", heavy, number * heavy)
    late, used = Candidate(owner="light"), Candidate(owner="heavy", busy=slots - 1)
    assert turns.order([used, late], 50 * heavy)[0] is late


def test_a_higher_level_goes_first() -> None:
    low, high = Candidate(owner="a", level=3), Candidate(owner="b", level=4, busy=9)
    assert Turns().order([low, high], 0.0) == [high, low]


def test_use_is_forgotten() -> None:
    turns = Turns()
    turns.start("heavy", 1.0, 0.0)
    turns.add("heavy", 1000, 0.0)
    order = turns.order([Candidate(owner="heavy"), Candidate(owner="other")], 1.0)
    assert [each.owner for each in order] == ["other", "heavy"]
    turns.order([], 40 * HALF_LIFE_S)
    assert turns._services == {}, "a worker that runs for years keeps no list of all callers"

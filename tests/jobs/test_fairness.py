"""Callers share the slots of a worker by weight, and nobody waits for ever: simulated hours, no real time."""

import heapq
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.jobs.fairness import HALF_LIFE_S, MAX_WEIGHT, MIN_WEIGHT, Candidate, Turns, parse_weights

OWNERS = st.text(min_size=1, max_size=3)


@dataclass
class Simulation:
    """A worker whose callers always have something queued; tasks of a caller take as long as `seconds` says."""

    seconds: dict[str, float]
    slots: int
    weights: dict[str, float] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    levels: dict[str, int] = field(default_factory=dict)
    served: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)
    last: dict[str, float] = field(default_factory=dict)
    waits: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def run(self, until: float) -> None:
        turns, running, now = Turns(self.weights), list[tuple[float, str]](), 0.0
        while now < until:
            while len(running) < self.slots:
                busy = Counter(owner for _, owner in running)
                waiting = [
                    Candidate(owner=owner, busy=busy[owner], level=self.levels.get(owner, 0), small=owner in self.small)
                    for owner in self.seconds
                ]
                owner = turns.order(waiting, now)[0].owner
                self.most[owner] = max(self.most[owner], busy[owner] + 1)
                self.waits[owner] = max(self.waits[owner], now - self.last.get(owner, 0.0))
                self.last[owner] = now
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


@given(
    st.dictionaries(OWNERS, st.tuples(st.floats(0.5, 4), st.floats(0.3, 0.6)), min_size=2, max_size=5),
    st.integers(1, 6),
)
@settings(max_examples=30, deadline=None)
def test_work_follows_the_weights(callers: dict[str, tuple[float, float]], slots: int) -> None:
    """Within 20 %, if each caller's share is some tasks a minute: however many slots, and however long the tasks."""
    weights = {owner: weight for owner, (weight, _) in callers.items()}
    simulation = Simulation({owner: seconds for owner, (_, seconds) in callers.items()}, slots, weights)
    simulation.run(until=200)
    for owner, weight in weights.items():
        fair = sum(simulation.used.values()) * weight / sum(weights.values())
        assert 0.8 * fair <= simulation.used[owner] <= 1.2 * fair


@given(st.dictionaries(OWNERS, st.floats(MIN_WEIGHT, MAX_WEIGHT), min_size=2, max_size=4), st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_nobody_starves_whatever_the_weights(weights: dict[str, float], slots: int) -> None:
    simulation = Simulation(dict.fromkeys(weights, 2.0), slots, weights)
    simulation.run(until=1500)
    ends = {owner: max(simulation.waits[owner], 1500 - simulation.last.get(owner, 0.0)) for owner in weights}
    assert max(ends.values()) <= HALF_LIFE_S * math.log2(2 * MAX_WEIGHT / MIN_WEIGHT)


@given(st.dictionaries(OWNERS, st.floats(0.25, 4), min_size=1, max_size=6), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_nobody_has_more_than_a_share_of_the_slots_while_others_wait(weights: dict[str, float], slots: int) -> None:
    """Rounded up: slots are whole."""
    simulation = Simulation(dict.fromkeys(weights, 1.0), slots, weights)
    simulation.run(until=40)
    for owner, weight in weights.items():
        assert simulation.most[owner] <= math.ceil(slots * weight / sum(weights.values()) + 1e-9)


@given(st.sets(OWNERS, min_size=1, max_size=5), st.sets(OWNERS, min_size=1, max_size=5), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_small_renders_take_nothing_from_the_share_of_bulk(small: set[str], bulk: set[str], slots: int) -> None:
    seconds = dict.fromkeys(bulk, 2.0) | dict.fromkeys(small, 0.5)
    simulation = Simulation(seconds, slots, small=small)
    simulation.run(until=200)
    if slots <= len(seconds):
        assert min(simulation.used.values()) >= 0.8 * sum(simulation.used.values()) / len(seconds)


def test_a_small_render_goes_before_bulk_of_others_who_have_had_as_much() -> None:
    turns = Turns()
    for owner in ("bulk", "small"):
        turns.start(owner, 10.0, 0.0)
    bulk, small = Candidate(owner="bulk"), Candidate(owner="small", small=True)
    assert turns.order([bulk, small], 1.0) == [small, bulk]
    turns.start("small", 10.0, 1.0)
    assert turns.order([bulk, small], 1.0) == [bulk, small], "not of a caller who has had more"


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


def test_waiting_raises_only_those_who_are_passed_over() -> None:
    """A heavy caller has old renders in the queue, because it has so many: they do not go before another's new one."""
    turns = Turns()
    turns.start("heavy", 10.0, 0.0)
    heavy, light = Candidate(owner="heavy", level=5), Candidate(owner="light")
    urgent = Candidate(owner="urgent", level=5, priority=5)
    assert turns.order([heavy, light, urgent], 1.0) == [urgent, light, heavy]
    turns.start("urgent", 50.0, 1.0)
    turns.start("light", 50.0, 1.0)
    assert turns.order([heavy, light, urgent], 1.0) == [heavy, urgent, light]


def test_use_is_forgotten() -> None:
    turns = Turns()
    turns.start("heavy", 1.0, 0.0)
    turns.add("heavy", 1000, 0.0)
    order = turns.order([Candidate(owner="heavy"), Candidate(owner="other")], 1.0)
    assert [each.owner for each in order] == ["other", "heavy"]
    turns.order([], 40 * HALF_LIFE_S)
    assert turns._services == {}, "a worker that runs for years keeps no list of all callers"


def test_weights_are_written_as_a_list_or_as_json() -> None:
    assert parse_weights("alice=2, batch = 0.5,") == {"alice": 2.0, "batch": 0.5}
    assert parse_weights('{"a=b,c": 2}') == parse_weights("") | {"a=b,c": 2.0}
    assert parse_weights("https://id.example/?u=1=3") == {"https://id.example/?u=1": 3.0}


@pytest.mark.parametrize(
    "value", ["alice", "=1", "a=0", "a=-1", "a=nan", "a=1,a=2", "a=1e9", '{"a": [1]}', '{"a": true}', "{"]
)
def test_weights_that_cannot_work_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"entry|JSON"):
        parse_weights(value)

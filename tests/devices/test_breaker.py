"""The breaker, driven at random: what it believes follows from what it was told, and it always looks again."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.devices.breaker import PASSES_TO_RESET, BackoffPolicy, Breaker
from service.devices.canary import AbsentResult, FaultResult, PassResult


class BreakerLife(RuleBasedStateMachine):
    """A canary runs whenever it is due, and tells anything."""

    @initialize(period=st.floats(0.1, 600), pause=st.floats(0.1, 60), longest=st.floats(60, 3600))
    def begin(self, period: float, pause: float, longest: float) -> None:
        self.rhythm, self.breaker, self.now = BackoffPolicy(period, pause, longest), Breaker(), 0.0
        self.told: list[PassResult | AbsentResult | FaultResult] = []

    @rule(
        verdict=st.sampled_from(
            [PassResult(7.0), AbsentResult("none"), FaultResult("bad"), FaultResult("full", fatal=False)]
        )
    )
    def run_when_due(self, verdict: PassResult | AbsentResult | FaultResult) -> None:
        self.now = max(self.now, self.breaker.due_at)
        self.breaker = self.breaker.next_state(verdict, self.now, self.rhythm)
        self.told.append(verdict)

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def suspect(self) -> None:
        before = self.breaker
        self.breaker = before.recheck_now(self.now)
        if before.state == "quarantined":
            assert self.breaker == before, "its pause is kept"
        else:
            assert self.breaker.due_at <= self.now

    @precondition(lambda self: self.told)
    @invariant()
    def what_was_told_last_decides(self) -> None:
        breaker, last = self.breaker, self.told[-1]
        if isinstance(last, PassResult):
            assert (breaker.state, breaker.reason, breaker.rate) == ("ok", "", 7.0), "one pass closes it again"
        elif isinstance(last, FaultResult):
            assert breaker.state == ("quarantined" if last.fatal or self._faulty_before() else "degraded")
            assert breaker.reason == last.reason and breaker.rate is None
        else:
            was_there = any(isinstance(told, PassResult | FaultResult) for told in self.told)
            assert breaker.state == ("quarantined" if was_there else "absent")
            assert breaker.reason == "none"

    def _faulty_before(self) -> bool:
        return len(self.told) > 1 and isinstance(self.told[-2], FaultResult | AbsentResult) and self.breaker.faults > 1

    @invariant()
    def it_always_looks_again(self) -> None:
        longest = max(self.rhythm.period_s, self.rhythm.max_backoff_s)
        assert self.breaker.due_at <= self.now + longest

    @invariant()
    def faults_are_counted_and_forgotten(self) -> None:
        if self.breaker.passes >= PASSES_TO_RESET:
            assert self.breaker.faults == 0
        if self.breaker.state in ("degraded", "quarantined"):
            assert self.breaker.faults >= 1 and self.breaker.passes == 0


TestBreakerLife = BreakerLife.TestCase


def test_pauses_double_up_to_the_longest() -> None:
    rhythm = BackoffPolicy(10, 4, 60)
    assert [rhythm.backoff_s(faults) for faults in (1, 2, 3, 4, 5, 6, 400)] == [4, 8, 16, 32, 60, 60, 60]


def test_a_capability_that_flaps_is_tried_less_and_less() -> None:
    breaker, rhythm, now = Breaker(), BackoffPolicy(10), 0.0
    pauses = []
    for _ in range(5):
        breaker = breaker.next_state(FaultResult("bad"), now, rhythm)
        pauses.append(breaker.due_at - now)
        breaker = breaker.next_state(PassResult(), now := breaker.due_at, rhythm)
        now = breaker.due_at
    assert pauses == sorted(set(pauses)), "a single pass does not make the faults forgotten"


def test_out_of_memory_once_is_no_quarantine() -> None:
    light = FaultResult("out of memory", fatal=False)
    once = Breaker().next_state(PassResult(), 0, BackoffPolicy(10)).next_state(light, 10, BackoffPolicy(10))
    assert once.state == "degraded"
    assert once.next_state(light, 20, BackoffPolicy(10)).state == "quarantined"
    assert once.next_state(PassResult(), 20, BackoffPolicy(10)).state == "ok"


@pytest.mark.parametrize("first", [PassResult(), FaultResult("bad")])
def test_what_was_there_and_is_gone_has_a_fault(first: PassResult | FaultResult) -> None:
    assert Breaker().next_state(AbsentResult("none"), 0, BackoffPolicy(10)).state == "absent"
    assert (
        Breaker().next_state(first, 0, BackoffPolicy(10)).next_state(AbsentResult("lost"), 1, BackoffPolicy(10)).state
        == "quarantined"
    )

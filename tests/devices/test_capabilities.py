"""The breaker with random results: its state follows from them, and it always tests again; and the table of them."""

import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.devices.canary import AbsentResult, Canary, CapabilityKey, FaultResult, PassResult
from service.devices.capabilities import PASSES_TO_RESET, BackoffPolicy, Breaker, CapabilityTable
from service.devices.device import Device


class BreakerLife(RuleBasedStateMachine):
    """A canary runs whenever it is due, with any result."""

    @initialize(period=st.floats(0.1, 600), pause=st.floats(0.1, 60), longest=st.floats(60, 3600))
    def begin(self, period: float, pause: float, longest: float) -> None:
        self.policy, self.breaker, self.now = BackoffPolicy(period, pause, longest), Breaker(), 0.0
        self.results: list[PassResult | AbsentResult | FaultResult] = []

    @rule(
        verdict=st.sampled_from(
            [PassResult(7.0), AbsentResult("none"), FaultResult("bad"), FaultResult("full", fatal=False)]
        )
    )
    def run_when_due(self, verdict: PassResult | AbsentResult | FaultResult) -> None:
        self.now = max(self.now, self.breaker.due_at)
        self.breaker = self.breaker.next_state(verdict, self.now, self.policy)
        self.results.append(verdict)

    @rule(seconds=st.floats(0, 1000))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def suspect(self) -> None:
        before = self.breaker
        self.breaker = before.recheck_now(self.now)
        if before.state == "quarantined":
            assert self.breaker == before, "its backoff is kept"
        else:
            assert self.breaker.due_at <= self.now

    @precondition(lambda self: self.results)
    @invariant()
    def what_was_told_last_decides(self) -> None:
        breaker, last = self.breaker, self.results[-1]
        if isinstance(last, PassResult):
            assert (breaker.state, breaker.reason, breaker.rate) == ("ok", "", 7.0), "one pass closes it again"
        elif isinstance(last, FaultResult):
            assert breaker.state == ("quarantined" if last.fatal or self._faulty_before() else "degraded")
            assert breaker.reason == last.reason and breaker.rate is None
        else:
            was_there = any(isinstance(result, PassResult | FaultResult) for result in self.results)
            assert breaker.state == ("quarantined" if was_there else "absent")
            assert breaker.reason == "none"

    def _faulty_before(self) -> bool:
        return (
            len(self.results) > 1
            and isinstance(self.results[-2], FaultResult | AbsentResult)
            and self.breaker.faults > 1
        )

    @invariant()
    def it_always_looks_again(self) -> None:
        longest = max(self.policy.period_s, self.policy.max_backoff_s)
        assert self.breaker.due_at <= self.now + longest

    @invariant()
    def faults_are_counted_and_forgotten(self) -> None:
        if self.breaker.passes >= PASSES_TO_RESET:
            assert self.breaker.faults == 0
        if self.breaker.state in ("degraded", "quarantined"):
            assert self.breaker.faults >= 1 and self.breaker.passes == 0


TestBreakerLife = BreakerLife.TestCase


def test_pauses_double_up_to_the_longest() -> None:
    policy = BackoffPolicy(10, 4, 60)
    assert [policy.backoff_s(faults) for faults in (1, 2, 3, 4, 5, 6, 400)] == [4, 8, 16, 32, 60, 60, 60]


def test_a_capability_that_flaps_is_tried_less_and_less() -> None:
    breaker, policy, now = Breaker(), BackoffPolicy(10), 0.0
    pauses = []
    for _ in range(5):
        breaker = breaker.next_state(FaultResult("bad"), now, policy)
        pauses.append(breaker.due_at - now)
        breaker = breaker.next_state(PassResult(), now := breaker.due_at, policy)
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


CPU, GPU = Device("cpu", "cpu"), Device("cuda:0", "gpu")
KEY = CapabilityKey("cuda:0", "decode", "jpeg")
CPU_KEY = CapabilityKey("cpu", "decode", "jpeg")
H264_KEY = CapabilityKey("cuda:0", "decode", "h264")


def canaries(device: str) -> tuple[Canary, ...]:
    return tuple(Canary(device, "decode", what, f"m:{what}") for what in ("jpeg", "h264"))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> CapabilityTable:
    capability_table = CapabilityTable(10, 60, clock)
    capability_table.update_devices([CPU, GPU], canaries)
    return capability_table


def pass_all(table: CapabilityTable) -> None:
    while due := table.due_canaries():
        for canary in due:
            table.record(canary.key, PassResult(2.0))


def state(table: CapabilityTable, key: CapabilityKey = KEY) -> tuple[str, str]:
    (one,) = [one for one in table.capabilities() if (one.device, one.stage, one.what) == key]
    return one.state, one.reason


def test_one_device_after_the_other(table: CapabilityTable) -> None:
    first = table.due_canaries()
    assert len(first) == 2 and len({canary.device for canary in first}) == 1
    for canary in first:
        table.record(canary.key, PassResult())
    second = table.due_canaries()
    assert {canary.device for canary in second} == {"cpu", "cuda:0"} - {first[0].device}


def test_gpus_are_proven_more_often_than_the_cpu(table: CapabilityTable, clock: Clock) -> None:
    pass_all(table)
    assert table.seconds_until_due() == 10
    clock.now += 10
    assert {canary.device for canary in table.due_canaries()} == {"cuda:0"}
    clock.now += 50
    pass_all(table)
    assert table.due_canaries() == []


def test_only_the_cpu_can_wait_and_not_for_ever(table: CapabilityTable, clock: Clock) -> None:
    delay_s = 30.0
    assert {canary.device for canary in table.due_canaries(delay_s)} == {"cuda:0"}
    for canary in table.due_canaries(delay_s):
        table.record(canary.key, PassResult())
    assert not table.due_canaries(delay_s) and not table.is_due(CPU_KEY, delay_s)
    assert table.seconds_until_due(delay_s) == 10, "the GPU's: nobody waits in a busy loop"
    assert table.is_due(CPU_KEY) and {canary.device for canary in table.due_canaries()} == {"cpu"}
    clock.now += delay_s
    assert table.is_due(CPU_KEY, delay_s)


def test_suspicion_makes_due(table: CapabilityTable) -> None:
    pass_all(table)
    table.request_recheck("cuda:0")
    assert {canary.device for canary in table.due_canaries()} == {"cuda:0"}
    pass_all(table)
    table.request_recheck()
    pass_all(table)
    assert table.due_canaries() == []


def test_a_fault_that_the_driver_tells_quarantines_at_once_and_once(table: CapabilityTable, clock: Clock) -> None:
    pass_all(table)
    lost = Device("cuda:0", "gpu", fault="XID 79: it fell off the bus")
    for _ in range(5):
        table.update_devices([CPU, lost], canaries)
    assert state(table) == ("quarantined", "XID 79: it fell off the bus")
    assert state(table, CPU_KEY)[0] == "ok"
    table.update_devices([CPU, GPU], canaries)
    clock.now += 4
    pass_all(table)
    assert state(table) == ("ok", "")


def test_a_warning_degrades_what_is_ok_for_as_long_as_it_lasts(table: CapabilityTable) -> None:
    pass_all(table)
    table.record(H264_KEY, FaultResult("wrong"))
    table.update_devices([CPU, Device("cuda:0", "gpu", warning="throttled: power brake")], canaries)
    assert state(table) == ("degraded", "throttled: power brake")
    assert state(table, H264_KEY) == ("quarantined", "wrong")
    table.update_devices([CPU, GPU], canaries)
    assert state(table)[0] == "ok"


def test_an_absent_device_is_not_looked_at(clock: Clock) -> None:
    table = CapabilityTable(10, 60, clock)
    table.update_devices([Device("cuda:0", "gpu", absent_reason="no driver")], canaries)
    assert table.due_canaries() == [] and state(table) == ("absent", "no driver")
    table.update_devices([GPU], canaries)
    assert len(table.due_canaries()) == 2, "a driver that was loaded later"


def test_a_device_that_is_gone_is_gone(table: CapabilityTable) -> None:
    table.update_devices([CPU], canaries)
    assert {one.device for one in table.capabilities()} == {"cpu"}
    assert table.record(KEY, PassResult()) is None


def test_ages_and_moments(table: CapabilityTable, clock: Clock) -> None:
    pass_all(table)
    clock.now += 7
    (row,) = [row for row in table.to_json() if (row["device"], row["what"]) == ("cuda:0", "jpeg")]
    assert (row["age"], row["next"], row["faults"], row["rate"]) == (7, 3, 0, 2.0)
    (one,) = [one for one in table.capabilities() if (one.device, one.what) == ("cuda:0", "jpeg")]
    assert one.proven_at == pytest.approx(time.time() - 7, abs=2)


def test_an_old_proof_is_no_proof(table: CapabilityTable, clock: Clock) -> None:
    pass_all(table)
    clock.now += 5 * 10 + 60
    assert state(table)[0] == "ok"
    clock.now += 1
    assert state(table) == ("unknown", "its last canary result is too old")
    assert state(table, CPU_KEY)[0] == "ok"
    pass_all(table)
    assert state(table) == ("ok", "")

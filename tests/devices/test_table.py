"""The table: which canaries are due, of one device at a time, and what the devices' own state makes of their proofs."""

import time

import pytest

from service.devices.canary import Canary, CapabilityKey, FaultResult, PassResult
from service.devices.device import Device
from service.devices.table import CapabilityTable

CPU, GPU = Device("cpu", "cpu"), Device("cuda:0", "gpu")
KEY: CapabilityKey = ("cuda:0", "decode", "jpeg")


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
    made = CapabilityTable(10, 60, clock)
    made.update_devices([CPU, GPU], canaries)
    return made


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
    assert state(table, ("cpu", "decode", "jpeg"))[0] == "ok"
    table.update_devices([CPU, GPU], canaries)
    clock.now += 4
    pass_all(table)
    assert state(table) == ("ok", "")


def test_a_warning_degrades_what_is_ok_for_as_long_as_it_lasts(table: CapabilityTable) -> None:
    pass_all(table)
    table.record(("cuda:0", "decode", "h264"), FaultResult("wrong"))
    table.update_devices([CPU, Device("cuda:0", "gpu", warning="throttled: power brake")], canaries)
    assert state(table) == ("degraded", "throttled: power brake")
    assert state(table, ("cuda:0", "decode", "h264")) == ("quarantined", "wrong")
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
    assert state(table) == ("unknown", "its last proof is too old")
    assert state(table, ("cpu", "decode", "jpeg"))[0] == "ok"
    pass_all(table)
    assert state(table) == ("ok", "")

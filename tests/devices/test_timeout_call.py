"""A call that may hang blocks nobody."""

import threading

import pytest

from service.devices.device import Device
from service.devices.timeout_call import StillRunning, TimeoutCall
from service.worker.devices.monitor import DeviceInventory

pytestmark = pytest.mark.anyio


async def test_results_and_errors_come_through() -> None:
    answers = iter([1, 2])
    call = TimeoutCall(lambda: next(answers), 30)
    assert [await call.result(), await call.result()] == [1, 2]

    def fail() -> None:
        raise TimeoutError("the driver's own")

    with pytest.raises(TimeoutError, match="the driver's own"):
        await TimeoutCall(fail, 30).result()


async def test_one_call_at_a_time_and_afterwards_another() -> None:
    go, calls = threading.Event(), []

    def block() -> int:
        calls.append(1)
        go.wait(60)
        return len(calls)

    call = TimeoutCall(block, 0.05)
    for _ in range(3):
        with pytest.raises(StillRunning):
            await call.result()
    assert len(calls) == 1
    go.set()
    call._timeout_s = 30
    assert await call.result() in (1, 2)


async def test_a_silent_source_keeps_its_devices_and_is_suspected_once() -> None:
    go, hang = threading.Event(), [False]

    def probe() -> list[Device]:
        if hang[0]:
            go.wait(60)
        return [Device("cuda:0", "gpu")]

    inventory = DeviceInventory((lambda: [Device("cpu", "cpu")], probe), 0.2)
    assert await inventory.refresh() == []
    hang[0] = True
    assert await inventory.refresh() == ["cuda:0"]
    assert await inventory.refresh() == []
    assert [device.name for device in inventory.devices()] == ["cpu", "cuda:0"]
    assert inventory.age_s("cuda:0") > inventory.age_s("cpu")
    hang[0] = False
    go.set()

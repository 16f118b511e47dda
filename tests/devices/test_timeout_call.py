"""A call that may hang holds up nobody."""

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
    go, made = threading.Event(), []

    def block() -> int:
        made.append(1)
        go.wait(60)
        return len(made)

    call = TimeoutCall(block, 0.05)
    for _ in range(3):
        with pytest.raises(StillRunning):
            await call.result()
    assert len(made) == 1
    go.set()
    call._timeout_s = 30
    assert await call.result() in (1, 2)


async def test_a_silent_source_keeps_its_devices_and_is_suspected_once() -> None:
    go, hang = threading.Event(), [False]

    def look() -> list[Device]:
        if hang[0]:
            go.wait(60)
        return [Device("cuda:0", "gpu")]

    looks = DeviceInventory((lambda: [Device("cpu", "cpu")], look), 0.2)
    assert await looks.refresh() == []
    hang[0] = True
    assert await looks.refresh() == ["cuda:0"]
    assert await looks.refresh() == []
    assert [device.name for device in looks.devices()] == ["cpu", "cuda:0"]
    assert looks.age_s("cuda:0") > looks.age_s("cpu")
    hang[0] = False
    go.set()

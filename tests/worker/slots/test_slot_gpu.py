"""The GPU of a slot: opened when it is wanted, and given back when the slot gets another share."""

import pytest

from service.pipeline.cuda.errors import CudaUnavailable
from service.plan.placement import GpuAllocation
from service.worker.slots.executor import SlotGpu
from tests.support.cuda_doubles import sound
from tests.support.cuda_doubles.driver import DriverDouble

ALLOCATION, SMALLER, OTHER_DEVICE = (
    GpuAllocation("cuda:0", 0.8),
    GpuAllocation("cuda:0", 0.4),
    GpuAllocation("cuda:1", 0.8),
)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[DriverDouble]:
    """Every driver that was opened."""
    found: list[DriverDouble] = []

    def open_driver(device: str) -> DriverDouble:
        found.append(DriverDouble(device))
        return found[-1]

    monkeypatch.setattr(sound, "open_driver", open_driver)
    return found


def test_a_share_is_opened_once_and_only_when_it_is_wanted(opened: list[DriverDouble]) -> None:
    about: list[str] = []
    gpus = SlotGpu(sound.__name__, lambda: about.append("now"))
    assert gpus.get_device(None, None) is None
    first = gpus.get_device(ALLOCATION, None)
    assert first is not None and first is gpus.get_device(ALLOCATION, None)
    assert (opened, about) == ([], [])
    assert first.driver() is first.driver() is opened[0]
    assert (len(opened), about, opened[0].share) == (1, ["now"], 0.8)


@pytest.mark.parametrize("other", [SMALLER, OTHER_DEVICE], ids=["less memory", "another device"])
def test_another_share_gives_the_one_before_back(opened: list[DriverDouble], other: GpuAllocation) -> None:
    gpus = SlotGpu(sound.__name__, lambda: None)
    for share in (ALLOCATION, other):
        device = gpus.get_device(share, None)
        assert device is not None
        device.driver()
    assert [(double.device, double.share, double.closed) for double in opened] == [
        ("cuda:0", 0.8, True),
        (other.device, other.memory, False),
    ]
    gpus.close()
    assert opened[1].closed


def test_a_withheld_device_says_why_and_stays_open(opened: list[DriverDouble]) -> None:
    gpus = SlotGpu(sound.__name__, lambda: None)
    device = gpus.get_device(ALLOCATION, None)
    assert device is not None
    device.driver()
    withheld = gpus.get_device(ALLOCATION, "it is quarantined")
    assert withheld is not None
    with pytest.raises(CudaUnavailable, match="quarantined"):
        withheld.driver()
    assert gpus.is_open and not opened[0].closed

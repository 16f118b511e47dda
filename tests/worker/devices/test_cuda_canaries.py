"""The canaries of a CUDA device, over a double of its driver: right pixels pass, and each fault is told as what it
is.
"""

from typing import Any

import numpy as np
import pytest

from service.devices.canary import Canary, DeviceUnusable, Unsupported, WrongOutput
from service.pipeline.cuda.errors import CudaOutOfMemory, CudaUnavailable, DeviceLost
from service.worker.devices import cuda_canaries
from service.worker.devices.canaries import canaries_for
from tests.support.cuda_doubles.driver import DriverDouble, Faults
from tests.support.doubles.canaries import run_canary

CANARIES = {f"{canary.stage} {canary.what}": canary for canary in canaries_for("cuda:0")}
DECODE_JPEG, TRANSFORM, ENCODE = CANARIES["decode jpeg"], CANARIES["transform nv12"], CANARIES["encode h264"]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> DriverDouble:
    double = DriverDouble()
    monkeypatch.setattr(cuda_canaries, "open_driver", lambda device: double)
    return double


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_right_pixels_pass(driver: DriverDouble, canary: Canary) -> None:
    assert run_canary(canary) > 0
    assert driver.open_sessions == 0, "encoders are closed"


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_other_pixels_do_not(driver: DriverDouble, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    luma = cuda_canaries.known.luma
    monkeypatch.setattr(cuda_canaries.known, "luma", lambda number: luma(number + 1))
    with pytest.raises(WrongOutput):
        run_canary(canary)


def test_a_batch_with_one_image_refused_is_wrong(driver: DriverDouble) -> None:
    driver.faults = Faults(undecodable_images=frozenset({5}))
    with pytest.raises(WrongOutput, match="1 of 24 images refused: the double refuses this one"):
        run_canary(DECODE_JPEG)


def test_no_nvenc_is_absence_with_its_reason(driver: DriverDouble) -> None:
    driver.faults = Faults(has_nvenc=False)
    with pytest.raises(Unsupported, match="this card has no NVENC"):
        run_canary(ENCODE)


def test_out_of_memory_is_light_and_a_lost_device_is_not(driver: DriverDouble) -> None:
    driver.faults = Faults(max_images=3)
    with pytest.raises(CudaOutOfMemory):
        run_canary(TRANSFORM)
    driver.faults = Faults(
        transform_errors={0: DeviceLost("an illegal address")}, encode_errors={2: DeviceLost("Xid 79")}
    )
    with pytest.raises(DeviceUnusable, match="an illegal address"):
        run_canary(TRANSFORM)
    with pytest.raises(DeviceUnusable, match="Xid 79"):
        run_canary(ENCODE)


def test_pictures_that_are_lost_on_the_way_are_missed(driver: DriverDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = driver.download

    class Short:
        def __init__(self, pictures: Any) -> None:
            self._transfer = whole(pictures)

        def wait(self) -> tuple[np.ndarray[Any, Any], list[Any]]:
            found, counts = self._transfer.wait()
            return found[:-1], counts

    monkeypatch.setattr(driver, "download", Short)
    for canary in (DECODE_JPEG, TRANSFORM):
        with pytest.raises(WrongOutput, match="23 frames instead of 24"):
            run_canary(canary)


def test_without_libraries_the_device_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: str) -> DriverDouble:
        raise CudaUnavailable(f"{device}: libnvidia-encode.so.1 is missing")

    monkeypatch.setattr(cuda_canaries, "open_driver", refuse)
    with pytest.raises(Unsupported, match="libnvidia-encode"):
        cuda_canaries.prepare("cuda:0")

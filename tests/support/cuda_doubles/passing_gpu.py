"""A device source with one GPU whose canaries pass."""

from service.devices.canary import Canary
from service.devices.device import Device
from service.worker.devices.canaries import DeviceSource

GPU = "cuda:0"
ENTRY_POINT = "tests.support.cuda_doubles.passing_gpu:passing_canary"
CAPABILITIES = (("decode", "jpeg"), ("decode", "h264"), ("transform", "nv12"), ("encode", "h264"))


def source() -> DeviceSource:
    return DeviceSource((lambda: [Device(GPU, "gpu", "double")],), canaries)


def canaries(device: str) -> tuple[Canary, ...]:
    return tuple(Canary(device, stage, what, ENTRY_POINT) for stage, what in CAPABILITIES)  # type: ignore[arg-type]


def passing_canary(_device: str) -> float:
    return 5000.0

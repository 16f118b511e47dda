"""A device whose context breaks whenever it is used."""

from collections.abc import Sequence

from service.pipeline.cuda.driver import CudaDriver, Shaping
from service.pipeline.cuda.faults import DeviceLost
from tests.support.cuda_doubles.driver import DevicePicture, Double, Image


class Lost(Double):
    def shape(self, images: Sequence[Image], shaping: Shaping) -> list[DevicePicture]:
        raise DeviceLost("CUDA error: an illegal memory access was encountered")


def open_driver(device: str) -> CudaDriver:
    return Lost(device)

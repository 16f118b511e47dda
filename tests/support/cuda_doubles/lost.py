"""A device whose context is lost at the first transform."""

from collections.abc import Sequence

from service.pipeline.cuda.driver import CudaDriver, TransformSpec
from service.pipeline.cuda.errors import DeviceLost
from tests.support.cuda_doubles.driver import DriverDouble, HostImage, HostPicture


class LostDriver(DriverDouble):
    def transform(self, images: Sequence[HostImage], spec: TransformSpec) -> list[HostPicture]:
        raise DeviceLost("CUDA error: an illegal memory access was encountered")


def open_driver(device: str) -> CudaDriver:
    return LostDriver(device)

"""A device that does everything right."""

from service.pipeline.cuda.driver import CudaDriver
from tests.support.cuda_doubles.driver import DriverDouble


def open_driver(device: str) -> CudaDriver:
    return DriverDouble(device)

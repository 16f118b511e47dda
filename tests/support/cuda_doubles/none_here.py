"""A machine with the libraries but without a device."""

from service.pipeline.cuda.driver import CudaDriver
from service.pipeline.cuda.errors import CudaUnavailable


def open_driver(device: str) -> CudaDriver:
    raise CudaUnavailable(f"{device}: no CUDA device is visible")

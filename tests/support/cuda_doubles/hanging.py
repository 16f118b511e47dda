"""A device that never returns from decoding."""

import time
from collections.abc import Sequence

from service.pipeline.cuda.driver import CudaDriver
from tests.support.cuda_doubles.driver import DriverDouble, HostImage


class HangingDriver(DriverDouble):
    def decode_jpegs(self, images: Sequence[bytes]) -> list[HostImage | str]:
        time.sleep(600)
        return []


def open_driver(device: str) -> CudaDriver:
    return HangingDriver(device)

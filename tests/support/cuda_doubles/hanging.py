"""A device that never answers."""

import time
from collections.abc import Sequence

from service.pipeline.cuda.driver import CudaDriver
from tests.support.cuda_doubles.driver import Double, Image


class Hanging(Double):
    def decode_jpegs(self, images: Sequence[bytes]) -> list[Image | str]:
        time.sleep(600)
        return []


def open_driver(device: str) -> CudaDriver:
    return Hanging(device)

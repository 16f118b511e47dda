"""The device that a slot owns: opened when it is first wanted, and tried again when that failed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from service.pipeline.cuda.driver import CudaDriver, load
from service.pipeline.cuda.faults import CudaFault, CudaUnavailable, DeviceLost
from service.plan.placement import REAL_DRIVER

RETRY_S = 30.0
_BATCH = 0.6
"""Of the slot's share: the allocator keeps what it has freed in pieces that do not fit everything."""

_SPARE = 0.9
"""Of the memory that is free at the moment: others may take some meanwhile."""


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """Which device, by which driver module, and how much of its memory; travels to the slot by pickle."""

    name: str
    share: float = 1.0
    module: str = REAL_DRIVER


class SlotDevice:
    """Nothing of CUDA is imported before `driver` is called; `about_to_open` is, just before."""

    def __init__(
        self, choice: DeviceChoice, about_to_open: Callable[[], None] | None = None, withheld: str | None = None
    ) -> None:
        self._choice, self._about_to_open, self._withheld = choice, about_to_open, withheld
        self._driver: CudaDriver | None = None
        self._refused: CudaUnavailable | None = None
        self._try_at = 0.0

    def driver(self) -> CudaDriver:
        """Raises CudaUnavailable."""
        if self._withheld is not None:
            raise CudaUnavailable(self._withheld)
        if self._driver is None:
            if self._refused is not None and time.monotonic() < self._try_at:
                raise self._refused
            self._driver = self._opened()
        return self._driver

    def budget(self) -> int:
        """Bytes of device memory that a batch may take now. Raises a CudaFault."""
        memory = self.driver().memory()
        return int(min(memory.total * self._choice.share * _BATCH, memory.free * _SPARE))

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()

    def _opened(self) -> CudaDriver:
        if self._about_to_open is not None:
            self._about_to_open()
        try:
            driver = load(self._choice.name, self._choice.module)
            driver.bound(self._choice.share)
            return driver
        except DeviceLost:
            raise
        except CudaUnavailable as refused:
            self._refused, self._try_at = refused, time.monotonic() + RETRY_S
            raise
        except CudaFault as fault:
            self._refused, self._try_at = CudaUnavailable(fault.reason), time.monotonic() + RETRY_S
            raise self._refused from fault

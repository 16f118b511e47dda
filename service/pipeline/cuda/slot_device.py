"""The GPU of a codec process: opened on first use, retried after a failure."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from service.pipeline.cuda.driver import CudaDriver, load_driver
from service.pipeline.cuda.errors import CudaError, CudaUnavailable, DeviceLost
from service.plan.placement import REAL_DRIVER

RETRY_INTERVAL_S = 30.0
# The part of the slot's share for one batch: the allocator keeps freed memory in pieces that do not fit everything.
_BATCH_FRACTION = 0.6

# The part of the currently free memory for one batch: other processes may allocate meanwhile.
_FREE_FRACTION = 0.9


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """The device of a slot, its driver module and the slot's share of device memory; sent to the slot by pickle."""

    name: str
    memory_fraction: float = 1.0
    driver_module: str = REAL_DRIVER


class SlotDevice:
    """Nothing of CUDA is imported before the first `driver()`; `before_open` is called just before that.

    `disabled_reason`: why this slot must not use the GPU.
    """

    def __init__(
        self, config: DeviceConfig, before_open: Callable[[], None] | None = None, disabled_reason: str | None = None
    ) -> None:
        self._config, self._before_open, self._disabled_reason = config, before_open, disabled_reason
        self._driver: CudaDriver | None = None
        self._open_error: CudaUnavailable | None = None
        self._retry_at = 0.0

    def driver(self) -> CudaDriver:
        """The open driver. Raises CudaUnavailable, DeviceLost."""
        if self._disabled_reason is not None:
            raise CudaUnavailable(self._disabled_reason)
        if self._driver is None:
            if self._open_error is not None and time.monotonic() < self._retry_at:
                raise self._open_error
            self._driver = self._open()
        return self._driver

    def memory_budget(self) -> int:
        """Bytes of device memory that a batch may take now. Raises CudaError."""
        memory = self.driver().memory()
        return int(min(memory.total * self._config.memory_fraction * _BATCH_FRACTION, memory.free * _FREE_FRACTION))

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()

    def _open(self) -> CudaDriver:
        if self._before_open is not None:
            self._before_open()
        try:
            driver = load_driver(self._config.name, self._config.driver_module)
            driver.set_memory_limit(self._config.memory_fraction)
            return driver
        except DeviceLost:
            raise
        except CudaUnavailable as error:
            self._open_error, self._retry_at = error, time.monotonic() + RETRY_INTERVAL_S
            raise
        except CudaError as error:
            self._open_error, self._retry_at = CudaUnavailable(error.reason), time.monotonic() + RETRY_INTERVAL_S
            raise self._open_error from error

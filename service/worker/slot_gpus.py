"""The GPU of a slot process: one at a time, the share that it was given last."""

from collections.abc import Callable

from service.pipeline.cuda.slot_device import DeviceConfig, SlotDevice
from service.plan.placement import GpuAllocation


class SlotGpu:
    """Opens lazily; `about_to_open` is called before the libraries of the first one are loaded."""

    def __init__(self, driver_module: str, before_open: Callable[[], None]) -> None:
        self._module, self._about_to_open = driver_module, before_open
        self._share: GpuAllocation | None = None
        self._device: SlotDevice | None = None

    @property
    def is_open(self) -> bool:
        return self._device is not None

    def get_device(self, allocation: GpuAllocation | None, disabled_reason: str | None) -> SlotDevice | None:
        """None for a slot without a GPU; a withheld device says why when it is asked for."""
        if allocation is None:
            return None
        if disabled_reason is not None:
            return SlotDevice(DeviceConfig(allocation.device), disabled_reason=disabled_reason)
        if self._device is None or allocation != self._share:
            self.close()
            choice = DeviceConfig(allocation.device, allocation.memory, self._module)
            self._share, self._device = allocation, SlotDevice(choice, self._about_to_open)
        return self._device

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
        self._share = self._device = None

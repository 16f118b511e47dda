"""The GPU of a slot process: one at a time, the share that it was given last."""

from collections.abc import Callable

from service.pipeline.cuda.slot_device import DeviceChoice, SlotDevice
from service.plan.placement import GpuAllocation


class SlotGpus:
    """Opens lazily; `about_to_open` is called before the libraries of the first one are loaded."""

    def __init__(self, module: str, about_to_open: Callable[[], None]) -> None:
        self._module, self._about_to_open = module, about_to_open
        self._share: GpuAllocation | None = None
        self._device: SlotDevice | None = None

    @property
    def opened(self) -> bool:
        return self._device is not None

    def of(self, share: GpuAllocation | None, withheld: str | None) -> SlotDevice | None:
        """None for a slot without a GPU; a withheld device says why when it is asked for."""
        if share is None:
            return None
        if withheld is not None:
            return SlotDevice(DeviceChoice(share.device), withheld=withheld)
        if self._device is None or share != self._share:
            self.close()
            choice = DeviceChoice(share.device, share.memory, self._module)
            self._share, self._device = share, SlotDevice(choice, self._about_to_open)
        return self._device

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
        self._share = self._device = None

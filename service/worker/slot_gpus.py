"""The GPUs that a slot process has opened: one, unless it was given another share meanwhile."""

from collections.abc import Callable

from service.pipeline.cuda.slot_device import DeviceChoice, SlotDevice
from service.plan.device_share import DeviceShare


class SlotGpus:
    """Opens lazily; `about_to_open` is called before the libraries of the first one are loaded."""

    def __init__(self, module: str, about_to_open: Callable[[], None]) -> None:
        self._module, self._about_to_open = module, about_to_open
        self._devices: dict[DeviceShare, SlotDevice] = {}

    @property
    def opened(self) -> bool:
        return bool(self._devices)

    def of(self, share: DeviceShare | None, withheld: str | None) -> SlotDevice | None:
        """None for a slot without a GPU; a withheld device says why when it is asked for."""
        if share is None:
            return None
        if withheld is not None:
            return SlotDevice(DeviceChoice(share.device), withheld=withheld)
        if share not in self._devices:
            choice = DeviceChoice(share.device, share.memory, self._module)
            self._devices[share] = SlotDevice(choice, self._about_to_open)
        return self._devices[share]

    def close(self) -> None:
        for device in self._devices.values():
            device.close()

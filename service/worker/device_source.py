"""Where a worker's devices come from, and their canaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.devices.canary import Canary
from service.devices.machine import CpuProbe
from service.devices.nvml import NvmlProbe
from service.devices.visible import set_pci_bus_order
from service.worker.canaries import canaries_for
from service.worker.device_looks import DeviceProbe


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """Each look may block for ever; `canaries` are those of a device by its name."""

    probes: Sequence[DeviceProbe]
    canaries: Callable[[str], Sequence[Canary]]


def local_device_source(include_gpus: bool) -> DeviceSource:
    """The CPU and, where they are wanted, NVIDIA's devices or why there are none."""
    set_pci_bus_order()
    machine = CpuProbe()
    looks: list[DeviceProbe] = [lambda: [machine.read_device()]]
    return DeviceSource((*looks, NvmlProbe().read_devices) if include_gpus else looks, canaries_for)

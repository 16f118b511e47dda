"""Where a worker's devices come from, and their canaries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.devices.canary import Canary
from service.devices.machine import Machine
from service.devices.nvml import Nvml
from service.devices.visible import order_as_the_driver
from service.worker.canaries import canaries_of
from service.worker.device_looks import Look


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """Each look may block for ever; `canaries` are those of a device by its name."""

    looks: Sequence[Look]
    canaries: Callable[[str], Sequence[Canary]]


def this_machine(gpus: bool) -> DeviceSource:
    """The CPU and, where they are wanted, NVIDIA's devices or why there are none."""
    order_as_the_driver()
    machine = Machine()
    looks: list[Look] = [lambda: [machine.look()]]
    return DeviceSource((*looks, Nvml().look) if gpus else looks, canaries_of)

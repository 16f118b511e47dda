"""The devices of this machine, and the table of their canaries.

It imports no codecs: only the canary process runs the functions, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.devices.canary import Canary
from service.devices.cpu_probe import CpuProbe
from service.devices.device import Device
from service.devices.nvml import NvmlProbe, set_pci_bus_order
from service.plan.capability import CPU, Stage

DeviceProbe = Callable[[], Sequence[Device]]
CPU_MODULE = "service.worker.devices.cpu_canaries"
CUDA_MODULE = "service.worker.devices.cuda_canaries"

CPU_CAPABILITIES: tuple[tuple[Stage, str], ...] = (
    ("decode", "jpeg"),
    ("decode", "png"),
    ("decode", "tiff"),
    ("decode", "h264"),
    ("decode", "hevc"),
    ("transform", "nv12"),
    ("encode", "h264"),
    ("encode", "hevc"),
    ("encode", "av1"),
    ("encode", "mjpeg"),
    ("encode", "ffv1"),
)
CUDA_CAPABILITIES: tuple[tuple[Stage, str], ...] = (
    ("decode", "jpeg"),
    ("decode", "h264"),
    ("decode", "hevc"),
    ("decode", "av1"),
    ("transform", "nv12"),
    ("encode", "h264"),
    ("encode", "hevc"),
    ("encode", "av1"),
)


def canaries_for(device: str) -> tuple[Canary, ...]:
    """The canaries of a device, by its name."""
    module, capabilities = (CPU_MODULE, CPU_CAPABILITIES) if device == CPU else (CUDA_MODULE, CUDA_CAPABILITIES)
    return tuple(Canary(device, stage, what, f"{module}:{stage}_{what}") for stage, what in capabilities)


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """Where devices come from: probes, which may block for ever, and the canaries of a device by its name."""

    probes: Sequence[DeviceProbe]
    canaries: Callable[[str], Sequence[Canary]]


def local_device_source(include_gpus: bool) -> DeviceSource:
    """The CPU and, if included, the NVIDIA GPUs of this machine."""
    set_pci_bus_order()
    cpu = CpuProbe()
    probes: list[DeviceProbe] = [lambda: [cpu.read_device()]]
    if include_gpus:
        probes.append(NvmlProbe().read_devices)
    return DeviceSource(probes, canaries_for)

"""The table of canaries. It imports no codecs: only the canary process runs the functions, by name."""

from service.devices.canary import Canary
from service.plan.capability import CPU, Stage

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

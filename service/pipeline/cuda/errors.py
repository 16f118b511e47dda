"""Errors of a GPU, one exception for each consequence."""

from typing import ClassVar

from service.errors import Interruption
from service.pipeline.frames import FallbackCode


class CudaError(Interruption):
    """`reason` is one line for receipts and operators; `fallback_code` is counted if frames fall back to the CPU."""

    fallback_code: ClassVar[FallbackCode] = "device_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CudaUnavailable(CudaError):
    """No usable device, or a library is missing: all work falls back to the CPU."""


class CudaUnsupported(CudaError):
    """The device works but lacks the engine, or does not support this format or size: use another device or the CPU."""

    fallback_code = "unsupported"


class CudaOutOfMemory(CudaError):
    """Device memory is full: retry with a smaller batch."""

    fallback_code = "out_of_memory"


class CudaCallFailed(CudaError):
    """One call failed and the context is intact: its frames fall back to the CPU."""


class DeviceLost(CudaError):
    """The CUDA context is broken and every later call would fail: the process has to end."""


class EncoderLost(CudaError):
    """The encoder of the render could not be opened, or failed. A file cannot mix encoders, so the whole render has to
    be replanned on another one."""

"""What can go wrong on a GPU, one exception for each consequence."""


class CudaError(Exception):
    """`reason` says what happened, for a receipt and an operator."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CudaUnavailable(CudaError):
    """There is no usable device here, or a library it needs is missing: all work is the CPU's."""


class CudaUnsupported(CudaError):
    """The device works but cannot do this: no such engine, format or size. Another device or the CPU does it."""


class CudaOutOfMemory(CudaError):
    """Device memory is full: a smaller batch may fit."""


class CudaCallFailed(CudaError):
    """One call failed and the context is still good: what it was for is done by the CPU."""


class DeviceLost(CudaError):
    """The CUDA context is of no more use: every later call of this process would fail, so the process has to end."""


class EncoderLost(CudaError):
    """The render's encoder cannot be had, or stopped. Another one's pictures do not fit into the same file: the whole
    render has to be planned on another."""

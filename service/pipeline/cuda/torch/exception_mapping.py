"""Maps exceptions of torch, nvJPEG and PyNvVideoCodec to CudaErrors."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from service.errors import first_line
from service.pipeline.cuda.errors import CudaCallFailed, CudaError, CudaOutOfMemory, CudaUnsupported, DeviceLost

# torchvision's messages end with the nvJPEG status; 5 is NVJPEG_STATUS_ALLOCATOR_FAILURE.
_OUT_OF_MEMORY = re.compile(r"out of memory|memory allocation|Failed to [a-z ]{1,60}: 5\b", re.IGNORECASE)

# From NVIDIA's decoder class for a codec or a size that the card's NVDEC does not support: permanent, and no fault.
_UNSUPPORTED_TEXT = "not supported on this GPU"


@contextmanager
def translate_errors(check_context: Callable[[], object]) -> Iterator[None]:
    """Raise a CudaError for any exception raised inside.

    `check_context` runs a small operation on the device. If that fails too, the context is lost: after an illegal
    memory access, for example, every later call fails.
    """
    try:
        yield
    except CudaError:
        raise
    except Exception as error:
        raise _to_cuda_error(error, check_context) from error


def _to_cuda_error(error: Exception, check_context: Callable[[], object]) -> CudaError:
    reason = first_line(error)
    try:
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        check_context()
    except torch.OutOfMemoryError:
        return CudaOutOfMemory(reason)
    except Exception:
        return DeviceLost(reason)
    if _UNSUPPORTED_TEXT in str(error):
        return CudaUnsupported(reason)
    out_of_memory = isinstance(error, torch.OutOfMemoryError) or _OUT_OF_MEMORY.search(str(error))
    return CudaOutOfMemory(reason) if out_of_memory else CudaCallFailed(reason)

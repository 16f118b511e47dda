"""Maps exceptions of torch, nvJPEG and PyNvVideoCodec to CudaErrors."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from service.errors import first_line
from service.pipeline.cuda.errors import CudaCallFailed, CudaError, CudaOutOfMemory, CudaUnsupported, DeviceLost

# nvJPEG's statuses are numbers in torchvision's text; 5 is NVJPEG_STATUS_ALLOCATOR_FAILURE.
_OUT_OF_MEMORY = re.compile(r"out of memory|memory allocation|Failed to [a-z ]+: 5\b", re.IGNORECASE)

# How NVIDIA's decoder class refuses a codec or a size that the card's NVDEC has not: no fault, and for good.
_UNSUPPORTED_TEXT = "not supported on this GPU"


@contextmanager
def translate_errors(check_context: Callable[[], object]) -> Iterator[None]:
    """Raises a CudaFault for whatever is raised inside. `alive` does something small on the device: an error of the
    context itself, such as an illegal memory access, fails every later call, and this one first."""
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
    full = isinstance(error, torch.OutOfMemoryError) or _OUT_OF_MEMORY.search(str(error))
    return CudaOutOfMemory(reason) if full else CudaCallFailed(reason)

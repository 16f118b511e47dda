"""Memory limit and malloc settings of a slot process."""

import resource

from service.malloc import M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, set_malloc_options

# More than any render frees at its end: `give_back_memory` says when, not the allocator.
TRIM_THRESHOLD_BYTES = 512 << 20
# The highest that glibc allows. A block above it is given back as soon as it is freed.
MMAP_THRESHOLD_BYTES = 32 << 20


def set_memory_limit(soft_limit_mb: int, hard_limit_mb: int) -> None:
    """`most` can be allowed later on, see `allow_memory`."""
    resource.setrlimit(resource.RLIMIT_DATA, (soft_limit_mb << 20, max(soft_limit_mb, hard_limit_mb) << 20))


def raise_memory_limit(limit_mb: int) -> None:
    """Raise the limit for a process that opens a GPU: its libraries and page-locked memory take more."""
    now, most = resource.getrlimit(resource.RLIMIT_DATA)
    if now != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_DATA, (min(max(now, limit_mb << 20), most), most))


def tune_malloc() -> None:
    """Before the first thread: pictures are freed into one heap, from which the next ones come.

    As glibc has it, each thread of an encoder frees into a heap of its own, which after some renders kept 50 MB more of
    a slot than it needed, and a picture's pages went back to the kernel, to be cleared and mapped again for the next.
    """
    set_malloc_options({M_ARENA_MAX: 1, M_MMAP_THRESHOLD: MMAP_THRESHOLD_BYTES, M_TRIM_THRESHOLD: TRIM_THRESHOLD_BYTES})

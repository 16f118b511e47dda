"""Memory limit and malloc settings of the processes of a slot."""

import resource

from service.malloc import M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, set_malloc_options

# More than any render frees at its end: `trim_malloc` decides when memory is returned, not the allocator.
TRIM_THRESHOLD_BYTES = 512 << 20
# The highest value that glibc allows. A larger block is returned to the kernel as soon as it is freed.
MMAP_THRESHOLD_BYTES = 32 << 20


def set_memory_limit(soft_limit_mb: int, hard_limit_mb: int) -> None:
    """Limit the memory of the process. `raise_memory_limit` can raise the limit up to `hard_limit_mb`."""
    resource.setrlimit(resource.RLIMIT_DATA, (soft_limit_mb << 20, max(soft_limit_mb, hard_limit_mb) << 20))


def raise_memory_limit(limit_mb: int) -> None:
    """Raise the limit for a process that opens a GPU: its libraries and page-locked memory need more."""
    current, hard_limit = resource.getrlimit(resource.RLIMIT_DATA)
    if current != resource.RLIM_INFINITY:
        soft_limit = min(max(current, limit_mb << 20), hard_limit)
        resource.setrlimit(resource.RLIMIT_DATA, (soft_limit, hard_limit))


def tune_malloc() -> None:
    """Use one malloc arena, so that freed frames are reused by the next ones. Call before the first thread starts.

    By default each encoder thread frees into an arena of its own: after some renders a slot kept 50 MB more than it
    needed, and the pages of a frame went back to the kernel, to be cleared and mapped again for the next frame.
    """
    set_malloc_options({M_ARENA_MAX: 1, M_MMAP_THRESHOLD: MMAP_THRESHOLD_BYTES, M_TRIM_THRESHOLD: TRIM_THRESHOLD_BYTES})

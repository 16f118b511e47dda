"""How many pictures go through the device at once: as many as its memory and the pinned memory of the host allow."""

from service.pipeline.cuda.candidate import Candidate
from service.plan.capability import DEVICE_BATCH, PINNED_BYTES


def batch_size(candidate: Candidate, memory_budget: int) -> int:
    """Pictures like this one within `budget` bytes of device memory, at least 1. Of page-locked memory there are two
    blocks that pictures are downloaded into, and two that samples are uploaded from.

    An image is there three times: while a batch is stacked for one launch, the one before it may not be freed yet.
    """
    width, height = candidate.size
    each = 1 if candidate.samples is None else candidate.samples.dtype.itemsize
    image = width * height * max(candidate.channels, 1) * each
    wide, high = candidate.transform.spec.canvas
    picture = wide * high * 3 // 2
    held = picture if candidate.samples is None else max(picture, image)
    return max(1, min(DEVICE_BATCH, memory_budget // (3 * image + 3 * picture), PINNED_BYTES // held))

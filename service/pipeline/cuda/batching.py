"""Groups frames into device batches: runs of similar frames, or whole bins of them, as large as memory allows."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from service.pipeline.cuda.device_frame import DeviceFrame
from service.pipeline.cuda.eligibility import Candidate, CandidateSelector
from service.pipeline.frames import Fallback
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


# Threads that decode what is not decoded on the device: 16-bit TIFF.
_READER_THREADS = 2
_BIN_NOT_SUPPORTED = "its bin is not one that the device makes"

# Source frames in order; closed at the end.
FrameStream = Generator[DeviceFrame, None, None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames in order; those of the CPU are among them. With `members` above 1, all of them are the device's, and each
    so many make one picture; the last of a render may have fewer."""

    frames: list[DeviceFrame]
    bin_size: int = 1

    def candidates(self) -> list[DeviceFrame]:
        """The device's."""
        return [made for made in self.frames if made.candidate]

    def outputs(self) -> list[DeviceFrame]:
        """Those of them that a picture comes back for: of a bin the first."""
        return self.candidates()[:: self.bin_size]


class Batcher:
    """Gives every frame once, in order. `most` frames at a time go through the device."""

    def __init__(self, selector: CandidateSelector, frames: FrameStream, memory_budget: int) -> None:
        self._selector, self._frames, self._memory_budget = selector, frames, memory_budget
        self._bin_size, self.max_frames = selector.bin_size, DEVICE_BATCH
        self._pending: deque[DeviceFrame] = deque()
        self._ungrouped: deque[DeviceFrame] = deque()
        self._readers = ThreadPoolExecutor(_READER_THREADS, "cuda-read")

    def next_batch(self) -> Batch:
        """The next frames; none at the end."""
        if self._bin_size == 1:
            return Batch(self._take_run(self._pending))
        if not self._ungrouped:
            if bins := self._take_whole_bins():
                return Batch(bins, self._bin_size)
            self._split_unsupported_bins()
        return Batch(self._take_run(self._ungrouped))

    def requeue(self, batch: Batch) -> None:
        """To be gathered anew, now that `most` is less."""
        whole = batch.bin_size == self._bin_size
        (self._pending if whole else self._ungrouped).extendleft(reversed(batch.frames))

    def _take_run(self, queue: deque[DeviceFrame]) -> list[DeviceFrame]:
        """The next frames up to the first that is not like those before it; frames of the CPU are like any. What was
        fetched waits here beyond the prefetch's own bound, so that it has one."""
        batch: list[DeviceFrame] = []
        first: Candidate | None = None
        room = 1
        held = 0
        while len(batch) < DEVICE_BATCH and held < PINNED_BYTES and self._fill(queue):
            candidate = queue[0].candidate
            if candidate and first is None:
                first, room = candidate, self._capacity(candidate)
            elif candidate and first and (candidate.batch_key != first.batch_key or not room):
                break
            room -= candidate is not None
            held += len(queue[0].data)
            batch.append(queue.popleft())
        return batch

    def _fill(self, queue: deque[DeviceFrame]) -> bool:
        return bool(queue) or (queue is self._pending and self._read_ahead())

    def _take_whole_bins(self) -> list[DeviceFrame]:
        """The next bins that the device can make, all alike; empty when it cannot make the next one."""
        taken: list[DeviceFrame] = []
        first: Candidate | None = None
        room = held = 0
        while held < PINNED_BYTES and (lead := self._bin_candidate(bin_ := self._peek_bin())):
            if first is None:
                first, room = lead, self._capacity(lead)
            if lead.batch_key != first.batch_key or len(bin_) > room:
                break
            room -= len(bin_)
            held += sum(len(made.data) for made in bin_)
            taken += [self._pending.popleft() for _ in bin_]
        return taken

    def _split_unsupported_bins(self) -> None:
        """The frames of bins that the device cannot make as a whole, each for itself, or the CPU's."""
        while len(self._ungrouped) < DEVICE_BATCH and (bin_ := self._peek_bin()) and not self._bin_candidate(bin_):
            for made in bin_:
                if made.candidate and not made.candidate.allowed_unbinned:
                    made.fall_back("transform", "unsupported", _BIN_NOT_SUPPORTED)
                self._ungrouped.append(self._pending.popleft())

    def _bin_candidate(self, frames: list[DeviceFrame]) -> Candidate | None:
        """What its frames are, if they are alike and the device can make one picture of them."""
        lead = frames[0].candidate if frames else None
        if lead is None or lead.bin_transform is None or len(frames) > self._capacity(lead):
            return None
        return lead if all(made.candidate and made.candidate.batch_key == lead.batch_key for made in frames) else None

    def _capacity(self, candidate: Candidate) -> int:
        return min(self.max_frames, batch_size(candidate, self._memory_budget))

    def _peek_bin(self) -> list[DeviceFrame]:
        """The next bin's frames."""
        while len(self._pending) < self._bin_size and self._read_ahead():
            pass
        return list(islice(self._pending, self._bin_size))

    def _read_ahead(self) -> bool:
        """A few are fetched and looked at together."""
        read = list(islice(self._frames, _READER_THREADS))
        self._pending.extend(self._readers.map(self._assign_candidate, read))
        return bool(read)

    def _assign_candidate(self, frame: DeviceFrame) -> DeviceFrame:
        if not frame.data:  # not fetched, or a picture of a video
            return frame
        found = self._selector.select(frame.data)
        if isinstance(found, Fallback):
            frame.fallback = found
        else:
            frame.candidate = found
        return frame

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._frames.close()

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

# Threads that decode 16-bit TIFF, which the device cannot decode.
_READER_THREADS = 2
_BIN_NOT_SUPPORTED = "its bin is not one that the device makes"

# Source frames in order; has to be closed.
FrameStream = Generator[DeviceFrame, None, None]


def batch_size(candidate: Candidate, memory_budget: int) -> int:
    """How many images like this one fit into `memory_budget` bytes of device memory and into pinned memory; at least 1.

    An image counts three times: while a batch is stacked for a launch, the batch before it may still be in memory.
    Pinned memory has two blocks for downloaded pictures and two for uploaded samples.
    """
    width, height = candidate.size
    sample_bytes = 1 if candidate.samples is None else candidate.samples.dtype.itemsize
    image_bytes = width * height * max(candidate.channels, 1) * sample_bytes
    canvas_width, canvas_height = candidate.transform.spec.canvas
    picture_bytes = canvas_width * canvas_height * 3 // 2
    pinned_bytes = picture_bytes if candidate.samples is None else max(picture_bytes, image_bytes)
    return max(
        1,
        min(DEVICE_BATCH, memory_budget // (3 * image_bytes + 3 * picture_bytes), PINNED_BYTES // pinned_bytes),
    )


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames in order, with and without a candidate.

    With a `bin_size` above 1 every frame has a candidate, and each `bin_size` of them become one picture; the last bin
    of a render may have fewer.
    """

    frames: list[DeviceFrame]
    bin_size: int = 1

    def candidates(self) -> list[DeviceFrame]:
        """The frames that the device processes."""
        return [frame for frame in self.frames if frame.candidate]

    def outputs(self) -> list[DeviceFrame]:
        """The candidates that get a picture: the first of each bin."""
        return self.candidates()[:: self.bin_size]


class Batcher:
    """Yields every frame once, in order, in batches of at most `max_frames` candidates."""

    def __init__(self, selector: CandidateSelector, frames: FrameStream, memory_budget: int) -> None:
        self._selector, self._frames, self._memory_budget = selector, frames, memory_budget
        self._bin_size, self.max_frames = selector.bin_size, DEVICE_BATCH
        self._pending: deque[DeviceFrame] = deque()
        # Frames of bins that the device cannot merge; processed one by one, before `_pending`.
        self._ungrouped: deque[DeviceFrame] = deque()
        self._readers = ThreadPoolExecutor(_READER_THREADS, "cuda-read")

    def next_batch(self) -> Batch:
        """The next frames; an empty batch at the end."""
        if self._bin_size == 1:
            return Batch(self._take_run(self._pending))
        if not self._ungrouped:
            if bins := self._take_whole_bins():
                return Batch(bins, self._bin_size)
            self._split_unsupported_bins()
        return Batch(self._take_run(self._ungrouped))

    def requeue(self, batch: Batch) -> None:
        """Put the frames back, to be batched again after `max_frames` was lowered."""
        queue = self._pending if batch.bin_size == self._bin_size else self._ungrouped
        queue.extendleft(reversed(batch.frames))

    def _take_run(self, queue: deque[DeviceFrame]) -> list[DeviceFrame]:
        """The next frames whose candidates are alike; frames without one are taken along.

        Their bytes are limited too, because frames without a candidate need no device memory that would limit them.
        """
        batch: list[DeviceFrame] = []
        first: Candidate | None = None
        room = 1
        batch_bytes = 0
        while len(batch) < DEVICE_BATCH and batch_bytes < PINNED_BYTES:
            if not queue and not (queue is self._pending and self._read_ahead()):
                break
            candidate = queue[0].candidate
            if candidate and first is None:
                first, room = candidate, self._capacity(candidate)
            elif candidate and first and (candidate.batch_key != first.batch_key or not room):
                break
            room -= candidate is not None
            batch_bytes += len(queue[0].data)
            batch.append(queue.popleft())
        return batch

    def _take_whole_bins(self) -> list[DeviceFrame]:
        """The next bins that the device can merge and that are alike; empty if it cannot merge the next one."""
        batch: list[DeviceFrame] = []
        first: Candidate | None = None
        room = batch_bytes = 0
        while batch_bytes < PINNED_BYTES and (candidate := self._bin_candidate(bin_ := self._peek_bin())):
            if first is None:
                first, room = candidate, self._capacity(candidate)
            if candidate.batch_key != first.batch_key or len(bin_) > room:
                break
            room -= len(bin_)
            batch_bytes += sum(len(frame.data) for frame in bin_)
            batch += [self._pending.popleft() for _ in bin_]
        return batch

    def _split_unsupported_bins(self) -> None:
        """Move the frames of bins that the device cannot merge to `_ungrouped`; some may only be processed in a bin."""
        while len(self._ungrouped) < DEVICE_BATCH and (bin_ := self._peek_bin()) and not self._bin_candidate(bin_):
            for frame in bin_:
                if frame.candidate and not frame.candidate.allowed_unbinned:
                    frame.fall_back("transform", "unsupported", _BIN_NOT_SUPPORTED)
                self._ungrouped.append(self._pending.popleft())

    def _bin_candidate(self, frames: list[DeviceFrame]) -> Candidate | None:
        """The candidate of the first frame, if the device can merge the bin and all its frames are alike."""
        first = frames[0].candidate if frames else None
        if first is None or first.bin_transform is None or len(frames) > self._capacity(first):
            return None
        alike = all(frame.candidate and frame.candidate.batch_key == first.batch_key for frame in frames)
        return first if alike else None

    def _capacity(self, candidate: Candidate) -> int:
        return min(self.max_frames, batch_size(candidate, self._memory_budget))

    def _peek_bin(self) -> list[DeviceFrame]:
        while len(self._pending) < self._bin_size and self._read_ahead():
            pass
        return list(islice(self._pending, self._bin_size))

    def _read_ahead(self) -> bool:
        """Fetch the next frames and select candidates among them in parallel; False at the end."""
        frames = list(islice(self._frames, _READER_THREADS))
        self._pending.extend(self._readers.map(self._assign_candidate, frames))
        return bool(frames)

    def _assign_candidate(self, frame: DeviceFrame) -> DeviceFrame:
        if not frame.data:  # not fetched, or a frame of a video
            return frame
        selected = self._selector.select(frame.data)
        if isinstance(selected, Fallback):
            frame.fallback = selected
        else:
            frame.candidate = selected
        return frame

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._frames.close()

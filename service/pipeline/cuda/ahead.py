"""The frames of a segment through the device, a batch ahead of the encoder: fetched, decoded, shaped, downloaded.

All of that is begun on one thread of its own, so that it goes on while the CPU encodes; the only thing that is waited
for is a download, by who takes its pictures.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from service.pipeline.cuda.batch_size import MOST, PINNED_BYTES, batch_size
from service.pipeline.cuda.candidate import Candidate, Candidates
from service.pipeline.cuda.driver import CudaDriver, DeviceImage, Transfer
from service.pipeline.cuda.faults import CudaFault, CudaOutOfMemory, CudaUnsupported, DeviceLost
from service.pipeline.cuda.made import Made, fetched
from service.pipeline.frames import Fallback, FallbackCode, FrameReader
from service.pipeline.window import Clipped
from service.plan.render_plan import FrameRef

_READERS = 2
"""Threads that decode what is not decoded on the device: 16-bit TIFF."""

Frames = Generator[Made, None, None]
"""Source frames in order; closed at the end."""

_Batch = tuple[list[Made], Transfer | None]


class Ahead:
    """Batches are runs of frames that are alike; out of memory halves them, for the rest of the segment."""

    def __init__(
        self,
        driver: CudaDriver,
        candidates: Candidates,
        frames: Frames,
        budget: int,
        download: bool,
    ) -> None:
        self._driver, self._candidates, self._frames = driver, candidates, frames
        self._budget, self._download, self._most = budget, download, MOST
        self._waiting: deque[Made] = deque()
        self._begun = ThreadPoolExecutor(1, "cuda")
        self._readers = ThreadPoolExecutor(_READERS, "cuda-read")
        self._next: Future[_Batch] | None = None

    def __iter__(self) -> Iterator[Made]:
        """In order. Raises DeviceLost, and nothing else: other faults are fallbacks of the frames they cost."""
        self._next = self._begun.submit(self._produce)
        while True:
            batch, transfer = self._next.result()
            if not batch:
                return
            self._next = self._begun.submit(self._produce)
            _arrive(batch, transfer)
            yield from batch

    def _produce(self) -> _Batch:
        batch = self._gathered()
        chosen = [made for made in batch if made.candidate]
        if not chosen:
            return batch, None
        try:
            return batch, self._on_device(chosen)
        except CudaOutOfMemory as fault:
            if len(chosen) == 1:
                chosen[0].give_up("transform", "out_of_memory", fault.reason)
                return batch, None
            self._most = len(chosen) // 2
        except DeviceLost:
            raise
        except CudaFault as fault:
            _give_up(chosen, "unsupported" if isinstance(fault, CudaUnsupported) else "device_failed", fault.reason)
            return batch, None
        self._waiting.extendleft(reversed(batch))
        return self._produce()

    def _gathered(self) -> list[Made]:
        """The next frames up to the first that is not like those before it; frames of the CPU are like any. What was
        fetched waits here beyond the prefetch's own bound, so that it has one."""
        batch: list[Made] = []
        first: Candidate | None = None
        room = 1
        held = 0
        while len(batch) < MOST and held < PINNED_BYTES and self._ready():
            candidate = self._waiting[0].candidate
            if candidate and first is None:
                first, room = candidate, min(self._most, batch_size(candidate, self._budget))
            elif candidate and first and (candidate.alike != first.alike or not room):
                break
            room -= candidate is not None
            held += len(self._waiting[0].data)
            batch.append(self._waiting.popleft())
        return batch

    def _ready(self) -> bool:
        """Whether a frame waits whose kind is known; a few are fetched and looked at together."""
        if not self._waiting:
            read = list(islice(self._frames, _READERS))
            self._waiting.extend(self._readers.map(self._recognised, read))
        return bool(self._waiting)

    def _recognised(self, made: Made) -> Made:
        if not made.data:  # not fetched, or a picture of a video
            return made
        found = self._candidates.of(made.data)
        if isinstance(found, Fallback):
            made.fallback = found
        else:
            made.candidate = found
        return made

    def _on_device(self, chosen: list[Made]) -> Transfer | None:
        """Begin all that the device does for these; leaves out those that it cannot decode. Raises CudaFault."""
        images = self._images(chosen)
        shown = [made for made in chosen if made.candidate]
        if not shown or shown[0].candidate is None:
            return None
        pictures = self._driver.shape(images, shown[0].candidate.shaped.shaping)
        for made in chosen:
            made.image = None
        if self._download:
            return self._driver.download(pictures)
        for made, picture in zip(shown, pictures, strict=True):
            made.picture = picture
            made.clipped = made.candidate.clipped if made.candidate else None
        return None

    def _images(self, chosen: Sequence[Made]) -> list[DeviceImage]:
        """Each image's own status counts: one call for many has been seen to skip some of them and report success."""
        images: list[DeviceImage] = []
        for made, image in zip(chosen, self._decoded(chosen), strict=True):
            if isinstance(image, str):
                made.give_up("decode", "not_decoded", image)
            elif made.candidate and (image.width, image.height) != made.candidate.size:
                made.give_up("decode", "not_decoded", f"came back as {image.width}x{image.height}")
            else:
                images.append(image)
        return images

    def _decoded(self, chosen: Sequence[Made]) -> "Sequence[DeviceImage | str]":
        """Alike as they are, all are pictures of a video, or samples to upload, or JPEGs."""
        ready = [made.image for made in chosen if made.image is not None]
        samples = [made.candidate.samples for made in chosen if made.candidate and made.candidate.samples is not None]
        if ready:
            return ready
        return self._driver.upload(samples) if samples else self._driver.decode_jpegs([made.data for made in chosen])

    def close(self) -> None:
        self._begun.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)
        self._frames.close()


def fetched_ahead(refs: Iterable[FrameRef], reader: FrameReader) -> Frames:
    return (fetched(ref, reader) for ref in refs)


def _arrive(batch: Sequence[Made], transfer: Transfer | None) -> None:
    """Wait for the batch's pictures. Raises DeviceLost."""
    if transfer is None:
        return
    shown = [made for made in batch if made.candidate]
    try:
        pictures, counts = transfer.wait()
    except DeviceLost:
        raise
    except CudaFault as fault:
        _give_up(shown, "device_failed", fault.reason)
        return
    for number, made in enumerate(shown):
        made.planes = pictures[number]
        counted = Clipped(*counts[number]) if counts else None
        made.clipped = made.candidate.clipped or counted if made.candidate else None


def _give_up(frames: Sequence[Made], code: FallbackCode, reason: str) -> None:
    for made in frames:
        made.give_up("decode", code, reason)

"""The frames of a segment through the device, a batch ahead of the encoder: fetched, decoded, shaped, downloaded.

All of that is begun on one thread of its own, so that it goes on while the CPU encodes; the only thing that is waited
for is a download, by who takes its pictures.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from service.pipeline.cuda.driver import CudaDriver, DeviceImage, Transfer
from service.pipeline.cuda.faults import CudaFault, CudaOutOfMemory, CudaUnsupported, DeviceLost
from service.pipeline.cuda.gather import Batch, Frames, Gatherer
from service.pipeline.cuda.made import Made, fetched
from service.pipeline.frames import FallbackCode, FrameReader
from service.pipeline.window import Clipped
from service.plan.render_plan import FrameRef


class Ahead:
    """Out of memory halves the batches, for the rest of the segment."""

    def __init__(self, driver: CudaDriver, gatherer: Gatherer, download: bool) -> None:
        self._driver, self._gatherer, self._download = driver, gatherer, download
        self._begun = ThreadPoolExecutor(1, "cuda")
        self._next: Future[tuple[Batch, Transfer | None]] | None = None

    def __iter__(self) -> Iterator[Made]:
        """In order. Raises DeviceLost, and nothing else: other faults are fallbacks of the frames they cost."""
        self._next = self._begun.submit(self._produce)
        while True:
            batch, transfer = self._next.result()
            if not batch.frames:
                return
            self._next = self._begun.submit(self._produce)
            _arrive(batch, transfer)
            yield from batch.frames

    def _produce(self) -> tuple[Batch, Transfer | None]:
        batch = self._gatherer.batch()
        chosen = batch.chosen()
        if not chosen:
            return batch, None
        try:
            return batch, self._on_device(batch)
        except CudaOutOfMemory as fault:
            if len(chosen) == 1:
                chosen[0].give_up("transform", "out_of_memory", fault.reason)
                return batch, None
            self._gatherer.most = len(chosen) // 2
        except DeviceLost:
            raise
        except CudaFault as fault:
            _give_up(chosen, "unsupported" if isinstance(fault, CudaUnsupported) else "device_failed", fault.reason)
            return batch, None
        self._gatherer.put_back(batch)
        return self._produce()

    def _on_device(self, batch: Batch) -> Transfer | None:
        """Begin all that the device does for these; leaves out those that it cannot decode. Raises CudaFault."""
        chosen = batch.chosen()
        images = self._images(chosen, batch.members)
        shown = batch.shown()
        if not shown or shown[0].candidate is None:
            return None
        pictures = self._driver.shape(images, shown[0].candidate.placed(batch.members > 1).shaping)
        for made in chosen:
            made.image = None
            made.laid = batch.members > 1 and made.candidate is not None
        if self._download:
            return self._driver.download(pictures)
        for made, picture in zip(shown, pictures, strict=True):
            made.picture = picture
            made.clipped = made.candidate.clipped if made.candidate else None
        return None

    def _images(self, chosen: Sequence[Made], members: int) -> list[DeviceImage]:
        """Each image's own status counts: one call for many has been seen to skip some of them and report success. A
        bin that lacks one is the CPU's."""
        images: list[DeviceImage] = []
        decoded = self._decoded(chosen)
        for start in range(0, len(chosen), members):
            bin_ = list(zip(chosen[start : start + members], decoded[start : start + members], strict=True))
            sound = [image for made, image in bin_ if not isinstance(image, str) and _kept(made, image)]
            if len(sound) == len(bin_):
                images += sound
            else:
                _give_up_bin(bin_)
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
        self._gatherer.close()


def fetched_ahead(refs: Iterable[FrameRef], reader: FrameReader) -> Frames:
    return (fetched(ref, reader) for ref in refs)


def _kept(made: Made, image: DeviceImage) -> bool:
    return made.candidate is not None and (image.width, image.height) == made.candidate.size


def _give_up_bin(bin_: "Sequence[tuple[Made, DeviceImage | str]]") -> None:
    """Each says what came in the way of it, the others that one of theirs is lacking."""
    for made, image in bin_:
        if isinstance(image, str):
            made.give_up("decode", "not_decoded", image)
        elif not _kept(made, image):
            made.give_up("decode", "not_decoded", f"came back as {image.width}x{image.height}")
        else:
            made.give_up("decode", "not_decoded", "another frame of its bin was not decoded")


def _arrive(batch: Batch, transfer: Transfer | None) -> None:
    """Wait for the batch's pictures. Raises DeviceLost."""
    if transfer is None:
        return
    try:
        pictures, counts = transfer.wait()
    except DeviceLost:
        raise
    except CudaFault as fault:
        _give_up(batch.chosen(), "device_failed", fault.reason)
        return
    for number, made in enumerate(batch.shown()):
        made.planes = pictures[number]
        counted = Clipped(*counts[number]) if counts else None
        made.clipped = made.candidate.clipped or counted if made.candidate else None


def _give_up(frames: Sequence[Made], code: FallbackCode, reason: str) -> None:
    for made in frames:
        made.give_up("decode", code, reason)

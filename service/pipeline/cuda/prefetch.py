"""Fetches, decodes, transforms and downloads the frames of a segment one batch ahead of the encoder.

All device work is queued from one background thread; the encoder's thread waits only for a finished download."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from service.pipeline.cuda.batching import Batch, Batcher, FrameStream
from service.pipeline.cuda.device_frame import DeviceFrame, fetch_frame
from service.pipeline.cuda.driver import CudaDriver, DeviceImage, Transfer
from service.pipeline.cuda.errors import CudaError, CudaOutOfMemory, CudaUnsupported, DeviceLost
from service.pipeline.frames import FallbackCode, FrameReader
from service.pipeline.picture import ClipCounts
from service.plan.render_plan import FrameRef


class DevicePrefetcher:
    """Out of memory halves the batches, for the rest of the segment."""

    def __init__(self, driver: CudaDriver, batcher: Batcher, download: bool) -> None:
        self._driver, self._batcher, self._download = driver, batcher, download
        self._executor = ThreadPoolExecutor(1, "cuda")
        self._next: Future[tuple[Batch, Transfer | None]] | None = None

    def __iter__(self) -> Iterator[DeviceFrame]:
        """In order. Raises DeviceLost, and nothing else: other faults are fallbacks of the frames they cost."""
        self._next = self._executor.submit(self._start_batch)
        while True:
            batch, transfer = self._next.result()
            if not batch.frames:
                return
            self._next = self._executor.submit(self._start_batch)
            _finish_download(batch, transfer)
            yield from batch.frames

    def _start_batch(self) -> tuple[Batch, Transfer | None]:
        batch = self._batcher.next_batch()
        chosen = batch.candidates()
        if not chosen:
            return batch, None
        try:
            return batch, self._submit(batch)
        except CudaOutOfMemory as fault:
            if len(chosen) == 1:
                chosen[0].fall_back("transform", "out_of_memory", fault.reason)
                return batch, None
            self._batcher.max_frames = len(chosen) // 2
        except DeviceLost:
            raise
        except CudaError as fault:
            _fall_back_all(
                chosen, "unsupported" if isinstance(fault, CudaUnsupported) else "device_failed", fault.reason
            )
            return batch, None
        self._batcher.requeue(batch)
        return self._start_batch()

    def _submit(self, batch: Batch) -> Transfer | None:
        """Begin all that the device does for these; leaves out those that it cannot decode. Raises CudaFault."""
        chosen = batch.candidates()
        images = self._decode_bins(chosen, batch.bin_size)
        shown = batch.outputs()
        if not shown or shown[0].candidate is None:
            return None
        pictures = self._driver.transform(images, shown[0].candidate.transform_for(batch.bin_size > 1).spec)
        for made in chosen:
            made.image = None
            made.merged_into_bin = batch.bin_size > 1 and made.candidate is not None
        if self._download:
            return self._driver.download(pictures)
        for made, picture in zip(shown, pictures, strict=True):
            made.picture = picture
            made.clipped = made.candidate.clipped if made.candidate else None
        return None

    def _decode_bins(self, frames: Sequence[DeviceFrame], bin_size: int) -> list[DeviceImage]:
        """Each image's own status counts: one call for many has been seen to skip some of them and report success. A
        bin that lacks one is the CPU's."""
        images: list[DeviceImage] = []
        decoded = self._decode(frames)
        for start in range(0, len(frames), bin_size):
            bin_ = list(zip(frames[start : start + bin_size], decoded[start : start + bin_size], strict=True))
            sound = [image for made, image in bin_ if not isinstance(image, str) and _has_expected_size(made, image)]
            if len(sound) == len(bin_):
                images += sound
            else:
                _fall_back_bin(bin_)
        return images

    def _decode(self, frames: Sequence[DeviceFrame]) -> "Sequence[DeviceImage | str]":
        """Alike as they are, all are pictures of a video, or samples to upload, or JPEGs."""
        ready = [made.image for made in frames if made.image is not None]
        samples = [made.candidate.samples for made in frames if made.candidate and made.candidate.samples is not None]
        if ready:
            return ready
        return self._driver.upload(samples) if samples else self._driver.decode_jpegs([made.data for made in frames])

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        self._batcher.close()


def fetch_frames(refs: Iterable[FrameRef], reader: FrameReader) -> FrameStream:
    return (fetch_frame(ref, reader) for ref in refs)


def _has_expected_size(frame: DeviceFrame, image: DeviceImage) -> bool:
    return frame.candidate is not None and (image.width, image.height) == frame.candidate.size


def _fall_back_bin(decoded: "Sequence[tuple[DeviceFrame, DeviceImage | str]]") -> None:
    """Each says what came in the way of it, the others that one of theirs is lacking."""
    for made, image in decoded:
        if isinstance(image, str):
            made.fall_back("decode", "not_decoded", image)
        elif not _has_expected_size(made, image):
            made.fall_back("decode", "not_decoded", f"came back as {image.width}x{image.height}")
        else:
            made.fall_back("decode", "not_decoded", "another frame of its bin was not decoded")


def _finish_download(batch: Batch, transfer: Transfer | None) -> None:
    """Wait for the batch's pictures. Raises DeviceLost."""
    if transfer is None:
        return
    try:
        pictures, counts = transfer.wait()
    except DeviceLost:
        raise
    except CudaError as fault:
        _fall_back_all(batch.candidates(), "device_failed", fault.reason)
        return
    for number, made in enumerate(batch.outputs()):
        made.planes = pictures[number]
        counted = ClipCounts(*counts[number]) if counts else None
        made.clipped = made.candidate.clipped or counted if made.candidate else None


def _fall_back_all(frames: Sequence[DeviceFrame], code: FallbackCode, reason: str) -> None:
    for made in frames:
        made.fall_back("decode", code, reason)

"""Fetches, decodes, transforms and downloads the frames of a segment one batch ahead of the encoder.

All device work is queued from one background thread; the encoder's thread only waits for finished downloads."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from service.pipeline.cuda.batching import Batch, Batcher, FrameStream
from service.pipeline.cuda.device_frame import DeviceFrame, fetch_frame
from service.pipeline.cuda.driver import CudaDriver, DeviceImage, Transfer
from service.pipeline.cuda.errors import CudaError, CudaOutOfMemory, DeviceLost
from service.pipeline.frames import FallbackCode, FrameReader
from service.plan.render_plan import FrameRef


class DevicePrefetcher:
    """Iterates over finished frames in order. Running out of memory halves the batches for the rest of the segment."""

    def __init__(self, driver: CudaDriver, batcher: Batcher, download: bool) -> None:
        self._driver, self._batcher, self._download = driver, batcher, download
        self._executor = ThreadPoolExecutor(1, "cuda")
        self._next: Future[tuple[Batch, Transfer | None]] | None = None

    def __iter__(self) -> Iterator[DeviceFrame]:
        """Raises DeviceLost only: after any other error the affected frames fall back to the CPU."""
        self._next = self._executor.submit(self._start_batch)
        while True:
            batch, transfer = self._next.result()
            if not batch.frames:
                return
            self._next = self._executor.submit(self._start_batch)
            if transfer is not None:
                _finish_download(batch, transfer)
            yield from batch.frames

    def _start_batch(self) -> tuple[Batch, Transfer | None]:
        batch = self._batcher.next_batch()
        candidates = batch.candidates()
        if not candidates:
            return batch, None
        try:
            return batch, self._submit(batch)
        except CudaOutOfMemory as error:
            if len(candidates) == 1:
                candidates[0].fall_back("transform", "out_of_memory", error.reason)
                return batch, None
            self._batcher.max_frames = len(candidates) // 2
        except DeviceLost:
            raise
        except CudaError as error:
            _fall_back_all(candidates, error.fallback_code, error.reason)
            return batch, None
        self._batcher.requeue(batch)
        return self._start_batch()

    def _submit(self, batch: Batch) -> Transfer | None:
        """Queue all device work of a batch; frames that cannot be decoded fall back. Raises CudaError."""
        candidates = batch.candidates()
        images = self._decode_bins(candidates, batch.bin_size)
        outputs = batch.outputs()
        if not outputs or outputs[0].candidate is None:
            return None
        binned = batch.bin_size > 1
        pictures = self._driver.transform(images, outputs[0].candidate.transform_for(binned).spec)
        for frame in candidates:
            frame.image = None
            frame.merged_into_bin = binned and frame.candidate is not None
        if self._download:
            return self._driver.download(pictures)
        for frame, picture in zip(outputs, pictures, strict=True):
            frame.picture = picture
            frame.clipped = frame.candidate.clipped if frame.candidate else None
        return None

    def _decode_bins(self, frames: Sequence[DeviceFrame], bin_size: int) -> list[DeviceImage]:
        """Decode, and drop every bin in which an image failed or has another size than its header says.

        Each image is checked: a batched call has been seen to skip images and report success.
        """
        images: list[DeviceImage] = []
        decoded = self._decode(frames)
        for start in range(0, len(frames), bin_size):
            bin_ = list(zip(frames[start : start + bin_size], decoded[start : start + bin_size], strict=True))
            good = [image for frame, image in bin_ if not isinstance(image, str) and _has_expected_size(frame, image)]
            if len(good) == len(bin_):
                images += good
            else:
                _fall_back_bin(bin_)
        return images

    def _decode(self, frames: Sequence[DeviceFrame]) -> "Sequence[DeviceImage | str]":
        """The frames of a batch are alike: all are decoded frames of a video, or samples to upload, or JPEGs."""
        images = [frame.image for frame in frames if frame.image is not None]
        if images:
            return images
        samples = [
            frame.candidate.samples for frame in frames if frame.candidate and frame.candidate.samples is not None
        ]
        return self._driver.upload(samples) if samples else self._driver.decode_jpegs([frame.data for frame in frames])

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        self._batcher.close()


def fetch_frames(refs: Iterable[FrameRef], reader: FrameReader) -> FrameStream:
    return (fetch_frame(ref, reader) for ref in refs)


def _has_expected_size(frame: DeviceFrame, image: DeviceImage) -> bool:
    return frame.candidate is not None and (image.width, image.height) == frame.candidate.size


def _fall_back_bin(decoded: "Sequence[tuple[DeviceFrame, DeviceImage | str]]") -> None:
    for frame, image in decoded:
        reason = "another frame of its bin was not decoded"
        if isinstance(image, str):
            reason = image
        elif not _has_expected_size(frame, image):
            reason = f"came back as {image.width}x{image.height}"
        frame.fall_back("decode", "not_decoded", reason)


def _finish_download(batch: Batch, transfer: Transfer) -> None:
    """Wait for the pictures of a batch. Raises DeviceLost."""
    try:
        pictures, counts = transfer.wait()
    except DeviceLost:
        raise
    except CudaError as error:
        _fall_back_all(batch.candidates(), "device_failed", error.reason)
        return
    for number, frame in enumerate(batch.outputs()):
        frame.planes = pictures[number]
        if frame.candidate and frame.candidate.clipped:
            frame.clipped = frame.candidate.clipped
        else:
            frame.clipped = counts[number] if counts else None


def _fall_back_all(frames: Sequence[DeviceFrame], code: FallbackCode, reason: str) -> None:
    for frame in frames:
        frame.fall_back("decode", code, reason)

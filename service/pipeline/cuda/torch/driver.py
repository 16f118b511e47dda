"""The real driver: torch for memory and streams, the kernels for transforms, torchvision and PyNvVideoCodec for codecs.

One stream decodes and transforms, one uploads, one downloads; every encoder has its own. Events order them, and the
host waits for an event only when it needs the bytes.
"""

import importlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from service.errors import first_line
from service.pipeline.cuda.driver import (
    CudaDriver,
    DeviceImage,
    DeviceMemory,
    EncoderSession,
    EncoderSettings,
    Samples,
    Transfer,
    TransformSpec,
    VideoCodec,
    VideoDecoderSession,
)
from service.pipeline.cuda.errors import CudaUnavailable, CudaUnsupported
from service.pipeline.cuda.torch.decoders import JpegDecoder
from service.pipeline.cuda.torch.exception_mapping import translate_errors
from service.pipeline.cuda.torch.memory import (
    BatchPicture,
    PictureBatch,
    PinnedDoubleBuffer,
    PinnedTransfer,
    TensorImage,
    as_array,
    as_batch_picture,
    as_tensor_image,
    stack_images,
)
from service.pipeline.cuda.torch.transform import KernelTransformer, nv12_to_i420
from service.pipeline.frames import DevicePicture

if TYPE_CHECKING:
    from collections.abc import Iterator


_new_stream: Any = torch.cuda.Stream
_new_event: Any = torch.cuda.Event


def open_driver(device: str) -> CudaDriver:
    """Create the CUDA context of this process. Raises CudaUnavailable."""
    if not torch.cuda.is_available():
        problem = "sees no CUDA device" if torch.version.cuda else "is built without CUDA"
        raise CudaUnavailable(f"{device}: torch {torch.__version__} {problem}")
    index = torch.device(device).index or 0
    if index >= torch.cuda.device_count():
        raise CudaUnavailable(f"{device}: this process sees {torch.cuda.device_count()} devices")
    return TorchDriver(torch.device("cuda", index))


class TorchDriver:
    """A missing library disables only its own codecs: JPEG without torchvision, videos without PyNvVideoCodec."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._device = str(device), device
        self._compute_stream, self._upload_stream, self._download_stream = (_new_stream(device) for _ in range(3))
        self._uploads, self._downloads = PinnedDoubleBuffer(), PinnedDoubleBuffer()
        self._transformer = KernelTransformer()
        self._jpeg_decoder: JpegDecoder | None = None
        self._codec_library: Any = None
        self._images_in_use: deque[tuple[Any, Sequence[DeviceImage]]] = deque()

    def facts(self) -> Mapping[str, str]:
        properties = torch.cuda.get_device_properties(self._device)
        return {
            "device": properties.name,
            "sm": f"{properties.major}.{properties.minor}",
            "torch": torch.__version__,
            "cuda": str(torch.version.cuda),
        }

    def memory(self) -> DeviceMemory:
        with self._translate_errors():
            return DeviceMemory(*torch.cuda.mem_get_info(self._device))

    def set_memory_limit(self, fraction: float) -> None:
        with self._translate_errors():
            torch.cuda.set_per_process_memory_fraction(min(max(fraction, 0.0), 1.0), self._device)

    def decode_jpegs(self, images: Sequence[bytes]) -> "Sequence[DeviceImage | str]":
        self._release_read_images()  # here too, or a finished batch would still be in memory while this one is decoded
        with self._use_stream(self._compute_stream):
            if self._jpeg_decoder is None:
                self._jpeg_decoder = _import_optional(lambda: JpegDecoder(self._device, self._translate_errors))
            return self._jpeg_decoder.decode(images)

    def upload(self, samples: Sequence[Samples]) -> Sequence[DeviceImage]:
        first, count = samples[0], len(samples)
        with self._use_stream(self._upload_stream):
            host = self._uploads.acquire(count * first.nbytes)
            array = as_array(host, (count, *first.shape), first.dtype.newbyteorder("="))
            for index, image in enumerate(samples):
                array[index] = image
            block = torch.from_numpy(array).to(self._device, non_blocking=True)
            block = block.permute(0, 3, 1, 2) if block.ndim == 4 else block
            done = self._record_event(self._upload_stream)
            self._uploads.mark_in_use(done)
            self._compute_stream.wait_event(done)
            block.record_stream(self._compute_stream)
        kind, size = "gray" if first.ndim == 2 else "rgb", (first.shape[1], first.shape[0])
        return [TensorImage(view, size, kind, block, index) for index, view in enumerate(block)]  # type: ignore[arg-type]

    def transform(self, images: Sequence[DeviceImage], spec: TransformSpec) -> Sequence[DevicePicture]:
        self._release_read_images()
        with self._use_stream(self._compute_stream):
            kind = as_tensor_image(images[0]).kind
            packed, clipped = self._transformer.transform(stack_images(images), kind, spec)
            batch = PictureBatch(packed, clipped, self._record_event(self._compute_stream))
        self._images_in_use.append((batch.ready, images))
        return [BatchPicture(batch, index) for index in range(len(packed))]

    def download(self, pictures: Sequence[DevicePicture]) -> Transfer:
        batch = as_batch_picture(pictures[0]).batch
        with self._use_stream(self._download_stream):
            self._download_stream.wait_event(batch.ready)
            batch.packed.record_stream(self._download_stream)
            nv12_to_i420(batch.packed)
            picture_bytes = batch.packed.numel()
            count_bytes = batch.clipped.numel() * 4 if batch.clipped is not None else 0
            block = self._downloads.acquire(picture_bytes + count_bytes)
            block[:picture_bytes].copy_(batch.packed.view(-1), non_blocking=True)
            if batch.clipped is not None:
                block[picture_bytes:].copy_(batch.clipped.view(torch.uint8).view(-1), non_blocking=True)
            done = self._record_event(self._download_stream)
            self._downloads.mark_in_use(done)
        return PinnedTransfer(batch, block, done, self._translate_errors)

    def open_decoder(self, codec: VideoCodec) -> VideoDecoderSession:
        from service.pipeline.cuda.torch.decoders import NvdecSession

        with self._use_stream(self._compute_stream):
            return NvdecSession(self._video_codec_library(), codec, self._compute_stream, self._translate_errors)

    def open_encoder(self, settings: EncoderSettings) -> EncoderSession:
        from service.pipeline.cuda.torch.nvenc import NvencSession

        stream = _new_stream(self._device)
        with self._use_stream(stream):
            return NvencSession(self._video_codec_library(), settings, stream, self._translate_errors)

    def synchronise(self) -> None:
        with self._translate_errors():
            torch.cuda.synchronize(self._device)

    def close(self) -> None:
        self._images_in_use.clear()
        self._jpeg_decoder = self._codec_library = None

    def _release_read_images(self) -> None:
        """Release images that a finished launch has read.

        Not earlier: torchvision writes the next images on a stream of its own, which does not wait for ours, and the
        allocator would give it the same memory.
        """
        while self._images_in_use and self._images_in_use[0][0].query():
            self._images_in_use.popleft()

    def _video_codec_library(self) -> Any:
        if self._codec_library is None:
            self._codec_library = _import_optional(lambda: importlib.import_module("PyNvVideoCodec"))
        return self._codec_library

    def _record_event(self, stream: Any) -> Any:
        """Record a blocking event: waiting for it does not spin, so the cores stay free for the encoders."""
        event = _new_event(blocking=True)
        event.record(stream)
        return event

    @contextmanager
    def _use_stream(self, stream: Any) -> "Iterator[None]":
        with self._translate_errors(), torch.cuda.device(self._device), torch.cuda.stream(stream):
            yield

    def _translate_errors(self) -> AbstractContextManager[None]:
        return translate_errors(self._check_context)

    def _check_context(self) -> None:
        """Wait for all queued work and use device memory; called only after an error."""
        torch.cuda.synchronize(self._device)
        torch.zeros(1, device=self._device).item()


def _import_optional(load: Callable[[], Any]) -> Any:
    """Raises CudaUnsupported. Next to a wrong torch or driver, these imports raise RuntimeError and OSError, too."""
    try:
        return load()
    except Exception as error:
        raise CudaUnsupported(first_line(error)) from error

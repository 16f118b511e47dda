"""The real driver: torch for memory and streams, the kernels, torchvision and PyNvVideoCodec for the codecs.

Three streams: one decodes and shapes, one uploads, one downloads; encoders have their own. Events tie them together,
and the host waits for an event only where it needs the bytes.
"""

import importlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from service.errors import first_line
from service.pipeline.cuda.batch import BatchPicture, PictureBatch, TensorImage, batch_picture, stacked, tensor_image
from service.pipeline.cuda.driver import (
    CudaDriver,
    DeviceImage,
    DevicePicture,
    EncoderSession,
    EncoderSettings,
    Memory,
    Samples,
    Shaping,
    Transfer,
    VideoCodec,
    VideoFeed,
)
from service.pipeline.cuda.faults import CudaUnavailable, CudaUnsupported
from service.pipeline.cuda.jpegs import Jpegs
from service.pipeline.cuda.pinned import PinnedBlocks, as_array
from service.pipeline.cuda.shaped import Shaper, to_planes
from service.pipeline.cuda.torch_faults import named
from service.pipeline.cuda.transfer import PinnedTransfer

if TYPE_CHECKING:
    from collections.abc import Iterator


_stream: Any = torch.cuda.Stream
_new_event: Any = torch.cuda.Event


def open_driver(device: str) -> CudaDriver:
    """Makes the CUDA context of this process. Raises CudaUnavailable."""
    if not torch.cuda.is_available():
        built = torch.version.cuda
        raise CudaUnavailable(
            f"{device}: torch {torch.__version__} sees no CUDA device"
            if built
            else f"{device}: torch {torch.__version__} is built without CUDA"
        )
    if (torch.device(device).index or 0) >= torch.cuda.device_count():
        raise CudaUnavailable(f"{device}: this process sees {torch.cuda.device_count()} devices")
    return TorchDriver(torch.device("cuda", torch.device(device).index or 0))


class TorchDriver:
    """What is missing beside torch costs only what it is for: JPEGs without torchvision, videos without
    PyNvVideoCodec."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._device = str(device), device
        self._work, self._in, self._back = (_stream(device) for _ in range(3))
        self._uploads, self._downloads = PinnedBlocks(), PinnedBlocks()
        self._shaper = Shaper()
        self._jpegs: Jpegs | None = None
        self._codecs: Any = None
        self._used: deque[tuple[Any, Sequence[DeviceImage]]] = deque()

    def facts(self) -> Mapping[str, str]:
        properties = torch.cuda.get_device_properties(self._device)
        return {
            "device": properties.name,
            "sm": f"{properties.major}.{properties.minor}",
            "torch": torch.__version__,
            "cuda": str(torch.version.cuda),
        }

    def memory(self) -> Memory:
        with self._named():
            return Memory(*torch.cuda.mem_get_info(self._device))

    def bound(self, share: float) -> None:
        with self._named():
            torch.cuda.set_per_process_memory_fraction(min(max(share, 0.0), 1.0), self._device)

    def decode_jpegs(self, images: Sequence[bytes]) -> "Sequence[DeviceImage | str]":
        self._release()  # here too: else it decodes beside a batch that is done with
        with self._on(self._work):
            if self._jpegs is None:
                self._jpegs = _imported(lambda: Jpegs(self._device, self._named))
            return self._jpegs.decode(images)

    def upload(self, samples: Sequence[Samples]) -> Sequence[DeviceImage]:
        """All of one shape and type."""
        first, count = samples[0], len(samples)
        with self._on(self._in):
            host = self._uploads.take(count * first.nbytes)
            array = as_array(host, (count, *first.shape), first.dtype.newbyteorder("="))
            for place, one in enumerate(samples):
                array[place] = one
            block = torch.from_numpy(array).to(self._device, non_blocking=True)
            block = block.permute(0, 3, 1, 2) if block.ndim == 4 else block
            done = self._event(self._in)
            self._uploads.begun(done)
            self._work.wait_event(done)
            block.record_stream(self._work)
        kind, size = "gray" if first.ndim == 2 else "rgb", (first.shape[1], first.shape[0])
        return [TensorImage(one, size, kind, block, place) for place, one in enumerate(block)]  # type: ignore[arg-type]

    def shape(self, images: Sequence[DeviceImage], shaping: Shaping) -> Sequence[DevicePicture]:
        self._release()
        with self._on(self._work):
            kind = tensor_image(images[0]).kind
            packed, clipped = self._shaper.shape(stacked(images), kind, shaping)
            batch = PictureBatch(packed, clipped, self._event(self._work))
        self._used.append((batch.ready, images))
        return [BatchPicture(batch, place) for place in range(len(packed))]

    def download(self, pictures: Sequence[DevicePicture]) -> Transfer:
        batch = batch_picture(pictures[0]).batch
        with self._on(self._back):
            self._back.wait_event(batch.ready)
            batch.packed.record_stream(self._back)
            to_planes(batch.packed)
            counts = batch.clipped.numel() * 4 if batch.clipped is not None else 0
            block = self._downloads.take(batch.packed.numel() + counts)
            block[: batch.packed.numel()].copy_(batch.packed.view(-1), non_blocking=True)
            if batch.clipped is not None:
                block[batch.packed.numel() :].copy_(batch.clipped.view(torch.uint8).view(-1), non_blocking=True)
            done = self._event(self._back)
            self._downloads.begun(done)
        return PinnedTransfer(batch, block, done, self._named)

    def open_decoder(self, codec: VideoCodec, width: int, height: int) -> VideoFeed:
        from service.pipeline.cuda.nvdec import Nvdec

        with self._on(self._work):
            return Nvdec(self._library(), codec, self._work, self._named)

    def open_encoder(self, settings: EncoderSettings) -> EncoderSession:
        from service.pipeline.cuda.nvenc import Nvenc

        stream = _stream(self._device)
        with self._on(stream):
            return Nvenc(self._library(), settings, stream, self._named)

    def synchronise(self) -> None:
        with self._named():
            torch.cuda.synchronize(self._device)

    def close(self) -> None:
        self._used.clear()
        self._jpegs = self._codecs = None

    def _release(self) -> None:
        """Let go of images that have been read. Not before: torchvision writes the next ones on a stream of its own,
        which does not wait for ours, and the allocator would give it the same memory."""
        while self._used and self._used[0][0].query():
            self._used.popleft()

    def _library(self) -> Any:
        if self._codecs is None:
            self._codecs = _imported(lambda: importlib.import_module("PyNvVideoCodec"))
        return self._codecs

    def _event(self, stream: Any) -> Any:
        """Waited for without spinning: the cores are the encoders'."""
        event = _new_event(blocking=True)
        event.record(stream)
        return event

    @contextmanager
    def _on(self, stream: Any) -> "Iterator[None]":
        with self._named(), torch.cuda.device(self._device), torch.cuda.stream(stream):
            yield

    def _named(self) -> AbstractContextManager[None]:
        return named(self._alive)

    def _alive(self) -> None:
        """Waits for everything queued and touches memory: only after an error."""
        torch.cuda.synchronize(self._device)
        torch.zeros(1, device=self._device).item()


def _imported(library: Callable[[], Any]) -> Any:
    """These raise RuntimeError and OSError, too, when they are imported beside the wrong torch or driver."""
    try:
        return library()
    except Exception as error:
        raise CudaUnsupported(first_line(error)) from error

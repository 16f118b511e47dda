"""Hardware decoders: JPEG with nvJPEG (torchvision), H.264, HEVC and AV1 with NVDEC (PyNvVideoCodec)."""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from service.pipeline.cuda.driver import DeviceImage, VideoCodec
from service.pipeline.cuda.errors import CudaCallFailed, CudaUnsupported
from service.pipeline.cuda.torch.memory import TensorImage

ErrorTranslation = Callable[[], AbstractContextManager[None]]


class JpegDecoder:
    """One call at a time: the staging memory is one block, which is free again when a call returns, because torchvision
    waits for its own stream."""

    def __init__(self, device: torch.device, translate_errors: ErrorTranslation) -> None:
        from torchvision.io import decode_jpeg

        self._decode: Any = decode_jpeg
        self._device, self._translate_errors = device, translate_errors
        self._staging = torch.empty(0, dtype=torch.uint8)

    def decode(self, images: Sequence[bytes]) -> "list[TensorImage | str]":
        """Each image, or the reason why it cannot be decoded.

        The error of a batch does not name the image, so each is then decoded alone. Raises CudaOutOfMemory, DeviceLost.
        """
        try:
            return self._decode_batch(images)
        except CudaCallFailed:
            return [self._decode_one(image) for image in images]

    def _decode_one(self, image: bytes) -> "TensorImage | str":
        try:
            return self._decode_batch([image])[0]
        except CudaCallFailed as error:
            return error.reason

    def _decode_batch(self, images: Sequence[bytes]) -> "list[TensorImage | str]":
        with self._translate_errors():
            tensors: Sequence[Tensor] = self._decode(self._copy_to_staging(images), device=self._device)
            if len(tensors) != len(images):
                raise CudaCallFailed(f"{len(tensors)} of {len(images)} JPEGs came back")
            return [self._to_image(tensor) for tensor in tensors]

    def _to_image(self, tensor: Tensor) -> "TensorImage | str":
        if tensor.ndim != 3 or tensor.shape[0] not in (1, 3) or tensor.dtype != torch.uint8:
            return f"nvJPEG made {tensor.dtype} {tuple(tensor.shape)} of it"
        size = (int(tensor.shape[2]), int(tensor.shape[1]))
        if tensor.shape[0] == 1:
            return TensorImage(tensor[0], size, "gray")
        return TensorImage(tensor, size, "rgb")

    def _copy_to_staging(self, images: Sequence[bytes]) -> list[Tensor]:
        """Copies in pinned memory, one after the other."""
        total = sum(map(len, images))
        if len(self._staging) < total:
            self._staging = torch.empty(total, dtype=torch.uint8, pin_memory=True)
        array, parts, start = self._staging.numpy(), [], 0
        for image in images:
            array[start : start + len(image)] = np.frombuffer(image, np.uint8)
            parts.append(self._staging[start : start + len(image)])
            start += len(image)
        return parts


_CODEC_NAMES: dict[VideoCodec, str] = {"h264": "H264", "hevc": "HEVC", "av1": "AV1"}


class NvdecSession:
    """One decoder. Later calls reuse its surfaces, so every picture is copied out, on the decoding stream."""

    def __init__(self, library: Any, codec: VideoCodec, stream: Any, translate_errors: ErrorTranslation) -> None:
        self._library, self._stream, self._translate_errors = library, stream, translate_errors
        with translate_errors():
            self._decoder: Any = library.CreateDecoder(
                gpuid=stream.device.index or 0,
                codec=getattr(library.cudaVideoCodec, _CODEC_NAMES[codec]),
                cudacontext=0,
                cudastream=stream.cuda_stream,
                usedevicememory=True,
            )

    def decode(self, packet: bytes, pts: int) -> Sequence[tuple[int, DeviceImage]]:
        buffer = ctypes.create_string_buffer(packet, len(packet))
        packet_data = self._library.PacketData()
        packet_data.bsl_data, packet_data.bsl, packet_data.pts = ctypes.addressof(buffer), len(packet), pts
        return self._decode_packet(packet_data)

    def finish(self) -> Sequence[tuple[int, DeviceImage]]:
        """An empty packet ends the stream; it is sent until no picture is left."""
        images: list[tuple[int, DeviceImage]] = []
        while flushed := self._decode_packet(self._library.PacketData()):
            images += flushed
        return images

    def close(self) -> None:
        self._decoder = None

    def _decode_packet(self, packet: Any) -> list[tuple[int, DeviceImage]]:
        with self._translate_errors(), torch.cuda.stream(self._stream):
            return [(int(frame.getPTS()), self._copy_out(frame)) for frame in self._decoder.Decode(packet)]

    def _copy_out(self, frame: Any) -> DeviceImage:
        tensor = from_dlpack(frame)
        if tensor.ndim != 2 or tensor.dtype != torch.uint8 or tensor.shape[0] % 3 or tensor.shape[1] % 2:
            raise CudaUnsupported(f"NVDEC gives {tensor.dtype} {tuple(tensor.shape)}, which is not 8-bit NV12")
        return TensorImage(tensor.clone(), (int(tensor.shape[1]), int(tensor.shape[0]) // 3 * 2), "nv12")

"""JPEGs through nvJPEG by torchvision: its hardware engines for baseline ones, its CUDA decoder for the others."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from service.pipeline.cuda.batch import TensorImage
from service.pipeline.cuda.faults import CudaCallFailed

ErrorTranslation = Callable[[], AbstractContextManager[None]]


class JpegDecoder:
    """One at a time: the staging memory is one block, free again when a call returns, because torchvision waits for its
    own stream before it does."""

    def __init__(self, device: torch.device, translate_errors: ErrorTranslation) -> None:
        from torchvision.io import decode_jpeg

        self._decode: Any = decode_jpeg
        self._device, self._translate_errors = device, translate_errors
        self._staging = torch.empty(0, dtype=torch.uint8)

    def decode(self, images: Sequence[bytes]) -> "list[TensorImage | str]":
        """A failing call names no image, so then each is decoded for itself. Raises CudaOutOfMemory and DeviceLost."""
        try:
            return self._decode_batch(images)
        except CudaCallFailed:
            return [self._decode_one(image) for image in images]

    def _decode_one(self, image: bytes) -> "TensorImage | str":
        try:
            return self._decode_batch([image])[0]
        except CudaCallFailed as fault:
            return fault.reason

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
        """Pinned copies, one behind the other."""
        total = sum(map(len, images))
        if len(self._staging) < total:
            self._staging = torch.empty(total, dtype=torch.uint8, pin_memory=True)
        array, parts, start = self._staging.numpy(), [], 0
        for image in images:
            array[start : start + len(image)] = np.frombuffer(image, np.uint8)
            parts.append(self._staging[start : start + len(image)])
            start += len(image)
        return parts

"""Images and pictures in device memory as torch tensors, and their way through page-locked host memory."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from service.pipeline.cuda.driver import Bytes2D, DeviceImage
from service.pipeline.frames import DevicePicture


@dataclass(frozen=True, eq=False, slots=True)
class TensorImage:
    """`tensor` is (3, H, W) of R'G'B', (H, W) gray, or (H*3/2, W) NV12; `size` is (width, height).

    Images that were uploaded together are views of one `block`, at `place`.
    """

    tensor: Tensor
    size: tuple[int, int]
    kind: Literal["rgb", "gray", "nv12"]
    block: Tensor | None = None
    index: int = 0

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]


@dataclass(frozen=True, eq=False, slots=True)
class PictureBatch:
    """`packed` is (N, H*3/2, W) NV12, `clipped` int32 (N, 3) or None; `ready` is recorded when both are made.

    A download turns `packed` into planes in place.
    """

    packed: Tensor
    clipped: Tensor | None
    ready: Any


@dataclass(frozen=True, eq=False, slots=True)
class BatchPicture:
    """One picture of a batch."""

    batch: PictureBatch
    index: int

    @property
    def width(self) -> int:
        return int(self.batch.packed.shape[2])

    @property
    def height(self) -> int:
        return int(self.batch.packed.shape[1]) // 3 * 2

    @property
    def packed(self) -> Tensor:
        """(H*3/2, W)."""
        return self.batch.packed[self.index]


def stack_images(images: Sequence[DeviceImage]) -> Tensor:
    """(N, ...) of images of one shape and type: without a copy where they are a whole block."""
    ours = [as_tensor_image(image) for image in images]
    block = ours[0].block
    if block is not None and len(ours) == len(block) and all(one.block is block for one in ours):
        return block
    if ours[0].tensor.dtype == torch.uint16:  # torch can do little with it but move it
        return torch.stack([one.tensor.view(torch.int16) for one in ours]).view(torch.uint16)
    return torch.stack([one.tensor for one in ours])


def as_tensor_image(image: DeviceImage) -> TensorImage:
    assert isinstance(image, TensorImage), "an image of another driver"
    return image


def as_batch_picture(picture: DevicePicture) -> BatchPicture:
    assert isinstance(picture, BatchPicture), "a picture of another driver"
    return picture


class PinnedDoubleBuffer:
    """Grows to the largest that was asked for and stays. A block is handed out again when what was begun with it, two
    turns ago, is over."""

    def __init__(self, pin: bool = True) -> None:
        self._blocks: list[Tensor] = [torch.empty(0, dtype=torch.uint8) for _ in range(2)]
        self._events: list[Any] = [None, None]
        self._current, self._pin = 0, pin

    def acquire(self, size: int) -> Tensor:
        """uint8 (size,) to fill; say `begun` when a copy has been queued that uses it."""
        self._current ^= 1
        if self._events[self._current] is not None:
            self._events[self._current].synchronize()
            self._events[self._current] = None
        if len(self._blocks[self._current]) < size:
            self._blocks[self._current] = torch.empty(size, dtype=torch.uint8, pin_memory=self._pin)
        return self._blocks[self._current][:size]

    def mark_in_use(self, event: Any) -> None:
        """The block taken last is in use until this event."""
        self._events[self._current] = event


def as_array(block: Tensor, shape: tuple[int, ...], dtype: Any) -> "np.ndarray[Any, Any]":
    """The same memory as an array."""
    array: np.ndarray[Any, Any] = block.numpy().view(dtype).reshape(shape)
    return array


class PinnedTransfer:
    """Keeps the batch in device memory until it has arrived."""

    def __init__(
        self,
        batch: PictureBatch,
        block: Tensor,
        event: Any,
        translate_errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._batch, self._block, self._event, self._translate_errors = batch, block, event, translate_errors

    def wait(self) -> tuple[Bytes2D, list[tuple[int, int, int]]]:
        with self._translate_errors():
            self._event.synchronize()
        shape = tuple(self._batch.packed.shape)
        size = int(np.prod(shape))
        return as_array(self._block[:size], shape, np.uint8), self._read_counts(size)

    def _read_counts(self, start: int) -> list[tuple[int, int, int]]:
        if self._batch.clipped is None:
            return []
        counts = as_array(self._block[start:], tuple(self._batch.clipped.shape), np.int32)
        return [(int(below), int(above), int(nan)) for below, above, nan in counts]

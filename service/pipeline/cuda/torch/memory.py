"""Images and pictures in device memory as torch tensors, and transfers through pinned host memory."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from service.pipeline.cuda.driver import Bytes2D, DeviceImage
from service.pipeline.frames import DevicePicture
from service.pipeline.picture import ClipCounts


@dataclass(frozen=True, eq=False, slots=True)
class TensorImage:
    """`tensor` is R'G'B' (3, H, W), gray (H, W) or NV12 (H*3/2, W); `size` is (width, height) in pixels.

    Images that were uploaded together are views of one `block`, at `index` of its first axis.
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
    """`packed` is NV12 (N, H*3/2, W), `clipped` int32 (N, 3) or None; the event `ready` is recorded after both.

    A download converts `packed` to planes in place.
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
        """NV12 (H*3/2, W)."""
        return self.batch.packed[self.index]


def stack_images(images: Sequence[DeviceImage]) -> Tensor:
    """Stack images of one shape and type on a new first axis; no copy if they are one whole block in its order."""
    tensors = [as_tensor_image(image) for image in images]
    block = tensors[0].block
    if (
        block is not None
        and len(tensors) == len(block)
        and all(image.block is block and image.index == index for index, image in enumerate(tensors))
    ):
        return block
    if tensors[0].tensor.dtype == torch.uint16:  # torch cannot stack uint16
        return torch.stack([image.tensor.view(torch.int16) for image in tensors]).view(torch.uint16)
    return torch.stack([image.tensor for image in tensors])


def as_tensor_image(image: DeviceImage) -> TensorImage:
    assert isinstance(image, TensorImage), "an image of another driver"
    return image


def as_batch_picture(picture: DevicePicture) -> BatchPicture:
    assert isinstance(picture, BatchPicture), "a picture of another driver"
    return picture


class PinnedDoubleBuffer:
    """Two blocks of pinned memory in turn, which only grow. `acquire` waits for the copy that last used its block."""

    def __init__(self, pin: bool = True) -> None:
        self._blocks: list[Tensor] = [torch.empty(0, dtype=torch.uint8) for _ in range(2)]
        self._events: list[Any] = [None, None]
        self._current, self._pin = 0, pin

    def acquire(self, size: int) -> Tensor:
        """A block of uint8 (size,). Call `mark_in_use` after queueing the copy that uses it."""
        self._current ^= 1
        if self._events[self._current] is not None:
            self._events[self._current].synchronize()
            self._events[self._current] = None
        if len(self._blocks[self._current]) < size:
            self._blocks[self._current] = torch.empty(size, dtype=torch.uint8, pin_memory=self._pin)
        return self._blocks[self._current][:size]

    def mark_in_use(self, event: Any) -> None:
        """The block that was acquired last is in use until this event."""
        self._events[self._current] = event


def as_array(block: Tensor, shape: tuple[int, ...], dtype: Any) -> "np.ndarray[Any, Any]":
    """The same memory as a NumPy array."""
    array: np.ndarray[Any, Any] = block.numpy().view(dtype).reshape(shape)
    return array


class PinnedTransfer:
    """A running download; keeps the batch in device memory until it is done."""

    def __init__(
        self,
        batch: PictureBatch,
        block: Tensor,
        event: Any,
        translate_errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._batch, self._block, self._event, self._translate_errors = batch, block, event, translate_errors

    def wait(self) -> tuple[Bytes2D, list[ClipCounts]]:
        with self._translate_errors():
            self._event.synchronize()
        shape = tuple(self._batch.packed.shape)
        size = int(np.prod(shape))
        pictures = as_array(self._block[:size], shape, np.uint8)
        if self._batch.clipped is None:
            return pictures, []
        counts = as_array(self._block[size:], tuple(self._batch.clipped.shape), np.int32)
        return pictures, [ClipCounts(*map(int, row)) for row in counts]

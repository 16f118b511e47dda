"""Images and pictures in device memory, as torch tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from service.pipeline.cuda.driver import DeviceImage, DevicePicture


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

"""NV12 pictures in memory: a luma plane and a half-size plane of interleaved, centred chroma."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Nv12(NamedTuple):
    """uint8 views: luma (N, H, W) and chroma (N, H/2, W/2, 2) as Cb, Cr. H and W are even."""

    luma: "Tensor"
    chroma: "Tensor"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in luma samples."""
        return int(self.luma.shape[1]), int(self.luma.shape[2])

    @classmethod
    def from_packed(cls, packed: "Tensor") -> "Nv12":
        """Views of the two planes of a uint8 (N, H*3/2, W), the layout of codecs. Raises ValueError."""
        if packed.ndim != 3 or packed.shape[1] % 3 or packed.shape[2] % 2:
            raise ValueError(f"packed must be (N, H*3/2, W) with even H and W, not {tuple(packed.shape)}")
        height = packed.shape[1] // 3 * 2
        samples = (packed.shape[0], height // 2, packed.shape[2] // 2, 2)
        return cls(packed[:, :height], packed[:, height:].view(samples))


def even_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size of the planes for a picture of this size: odd sides are padded by one."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def allocate(count: int, size: tuple[int, int], device: "torch.device") -> Nv12:
    """Uninitialised planes in one packed block for `count` pictures of this (height, width)."""
    import torch

    height, width = even_size(size)
    return Nv12.from_packed(torch.empty((count, height // 2 * 3, width), dtype=torch.uint8, device=device))

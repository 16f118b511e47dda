"""Area average in plain torch, as two matrix products in float64."""

import torch
from torch import Tensor

from kernels.geometry import CropBox


def weights(size: int, out: int, unit: int = 1) -> Tensor:
    """The averaging matrix of one axis: float64 (ceil(out/unit), size/unit), each row sums to 1.

    `unit` is the number of luma samples that a sample covers: 2 for chroma. At an odd side the last output covers one.
    """
    begin = torch.arange(0, out, unit, dtype=torch.float64) * size / out
    end = (torch.arange(0, out, unit, dtype=torch.float64) + unit).clamp(max=out) * size / out
    left = torch.arange(0, size, unit, dtype=torch.float64)
    shared = torch.minimum(end[:, None], left + unit) - torch.maximum(begin[:, None], left)
    return shared.clamp(min=0) / (end - begin)[:, None]


def shrink(planes: Tensor, size: tuple[int, int], out: tuple[int, int], unit: int = 1) -> Tensor:
    """(..., H, W) -> float64 (..., h, w); `size` and `out` are (height, width) in luma samples."""
    down = weights(size[0], out[0], unit).to(planes.device)
    across = weights(size[1], out[1], unit).to(planes.device)
    return down @ planes.to(torch.float64) @ across.T


def crop_and_rotate(planes: Tensor, box: CropBox, rotation: int) -> Tensor:
    """(..., H, W), cropped and then rotated clockwise by degrees."""
    top, left, height, width = box
    return torch.rot90(planes[..., top : top + height, left : left + width], -rotation // 90, (-2, -1))


def round_to_uint8(levels: Tensor) -> Tensor:
    """Nearest uint8, halves to even."""
    return levels.round().clamp(0, 255).to(torch.uint8)


def pad_to_even(planes: Tensor) -> Tensor:
    """(..., H, W) with a replicated edge where a side is odd."""
    height, width = planes.shape[-2:]
    if height % 2:
        planes = torch.cat([planes, planes[..., -1:, :]], -2)
    return torch.cat([planes, planes[..., -1:]], -1) if width % 2 else planes

"""Area average in plain torch, as two matrix products in float64."""

import torch
from torch import Tensor


def weights(size: int, out: int, unit: int = 1) -> Tensor:
    """(ceil(out/unit), size/unit) float64 rows that sum to 1.

    `unit` is how many luma samples a sample stands for; the last output of an odd side stands for what is left.
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


def crop_and_rotate(planes: Tensor, box: tuple[int, int, int, int], rotation: int) -> Tensor:
    """(..., H, W) cropped to (top, left, height, width) and turned clockwise."""
    top, left, height, width = box
    return torch.rot90(planes[..., top : top + height, left : left + width], -rotation // 90, (-2, -1))


def round_to_uint8(levels: Tensor) -> Tensor:
    """To the nearest uint8, halves to even."""
    return levels.round().clamp(0, 255).to(torch.uint8)


def pad_to_even(planes: Tensor) -> Tensor:
    """(..., H, W) with odd sides made even by a replicated edge."""
    height, width = planes.shape[-2:]
    if height % 2:
        planes = torch.cat([planes, planes[..., -1:, :]], -2)
    return torch.cat([planes, planes[..., -1:]], -1) if width % 2 else planes

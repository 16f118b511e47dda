"""Bins of frames in plain torch."""

import torch
from torch import Tensor

from kernels.nv12 import Nv12
from kernels.temporal import Bins


def reduce_bins(frames: Tensor, bins: Bins) -> Tensor:
    """(N, ...) -> (bins, ...): float64 means, or maxima of each sample."""
    groups = torch.split(frames, bins.frames)
    if bins.mode == "max":
        return torch.stack([group.amax(0) for group in groups])
    return torch.stack([group.to(torch.float64).mean(0) for group in groups])


def reduce_nv12_bins(frames: Nv12, bins: Bins) -> tuple[Tensor, Tensor]:
    """(luma, chroma) of the bins, as `kernels.temporal` defines them."""
    luma = reduce_bins(frames.luma, bins)
    if bins.mode == "mean":
        return luma, reduce_bins(frames.chroma, bins)
    pairs = zip(torch.split(frames.luma, bins.frames), torch.split(frames.chroma, bins.frames), strict=True)
    return luma, torch.stack([_brightest_chroma(*pair) for pair in pairs])


def _brightest_chroma(luma: Tensor, chroma: Tensor) -> Tensor:
    """(n, H, W) and (n, H/2, W/2, 2) -> (H/2, W/2, 2): each pair from the frame with the brightest 2 x 2 luma."""
    count, height, width = luma.shape
    bright = luma.to(torch.int32).reshape(count, height // 2, 2, width // 2, 2).sum((2, 4))
    first = (bright == bright.amax(0)).to(torch.uint8).argmax(0)
    return chroma.take_along_dim(first[None, :, :, None], 0)[0]

"""Frames and results inside poisoned memory, so that reads and writes outside of them are detected."""

from dataclasses import dataclass
from math import nan

import numpy as np
import torch
from torch import Tensor

from kernels.nv12 import Nv12
from tests.kernels.golden import Array

LAYOUTS = ("planes", "wide rows", "interleaved", "every other")


def surround_with_poison(values: Array, dtype: torch.dtype, layout: str, device: torch.device) -> Tensor:
    """A tensor of the values (N, ..., H, W) surrounded by poison, with strides by layout."""
    frames = torch.from_numpy(np.ascontiguousarray(values)).to(dtype).to(device)
    margins = [1, *[0] * (frames.ndim - 1)] if layout == "planes" else [3] * frames.ndim
    if layout == "interleaved" and frames.ndim == 4:
        return _embed(frames.permute(0, 2, 3, 1), margins, 1).permute(0, 3, 1, 2)
    return _embed(frames, margins, 2 if layout == "every other" else 1)


def _embed(frames: Tensor, margins: list[int], step: int) -> Tensor:
    """The frames in the middle of a larger poisoned block; `step` leaves poison between the columns."""
    shape = [*frames.shape[:-1], frames.shape[-1] * step]
    whole = [length + 2 * margin for length, margin in zip(shape, margins, strict=True)]
    view = torch.empty(whole, dtype=frames.dtype, device=frames.device)
    if frames.dtype == torch.float32:
        view.fill_(nan)
    else:
        view.view(torch.uint8).fill_(0xA5)
    for axis, margin in enumerate(margins):
        view = view.narrow(axis, margin, shape[axis])
    view[..., ::step].copy_(frames)
    return view[..., ::step]


@dataclass
class GuardedPlanes:
    """NV12 planes with guard bands around every row, all poison before the run."""

    block: Tensor
    planes: Nv12

    @classmethod
    def allocate(cls, count: int, size: tuple[int, int], device: torch.device, band: int = 16) -> "GuardedPlanes":
        """Planes for the even (height, width) around `size`, aligned as a decoder's surfaces are."""
        height, width = size[0] + size[0] % 2, size[1] + size[1] % 2
        pitch = (width + 2 * band + 15) // 16 * 16
        block = torch.full((count, height + height // 2 + 3, pitch), 0xA5, dtype=torch.uint8, device=device)
        luma = block[:, 1 : height + 1, band : band + width]
        chroma = block[:, height + 2 : height + 2 + height // 2, band : band + width]
        return cls(block, Nv12(luma, chroma.unflatten(2, (width // 2, 2))))

    def guards_intact(self) -> bool:
        """Whether all memory around the planes still holds the poison. Overwrites the planes."""
        self.planes.luma.fill_(0xA5)
        self.planes.chroma.fill_(0xA5)
        return bool((self.block == 0xA5).all())

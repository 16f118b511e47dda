"""RGB to NV12 in plain torch, in float64."""

import torch
from torch import Tensor

from kernels.area.reference import cut, grown, rounded, shrink
from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12
from kernels.temporal import Bins
from kernels.temporal.reference import binned


def run(frames: Tensor, out: Nv12, geometry: Geometry, colour: Colour, bins: Bins) -> None:
    """Fills `out`; the arguments are those that `rgb_to_nv12` has checked."""
    height, width = int(frames.shape[2]), int(frames.shape[3])
    picture = cut(binned(frames, bins), geometry.box(height, width), geometry.turn)
    size = geometry.result(height, width)
    write(shrink(picture, geometry.upright(height, width), size), out, colour)


def write(rgb: Tensor, out: Nv12, colour: Colour) -> None:
    """(N, 3, H, W) levels of 0..255, not rounded yet -> NV12."""
    luma, blue, red = (_row(grown(rgb), row) for row in colour.rows())
    out.luma.copy_(rounded(luma))
    out.chroma.copy_(rounded(torch.stack([_of_pairs(blue), _of_pairs(red)], -1)))


def _row(rgb: Tensor, row: tuple[float, float, float, float]) -> Tensor:
    offset, *of = row
    return torch.einsum("nchw,c->nhw", rgb, torch.tensor(of, dtype=rgb.dtype, device=rgb.device)) + offset


def _of_pairs(plane: Tensor) -> Tensor:
    count, height, width = plane.shape
    return plane.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))

"""RGB to NV12 in plain torch, in float64."""

import torch
from torch import Tensor

from kernels.area.reference import crop_and_rotate, pad_to_even, round_to_uint8, shrink
from kernels.colour import Coefficients, Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12
from kernels.temporal import Bins
from kernels.temporal.reference import reduce_bins


def run(frames: Tensor, out: Nv12, geometry: Geometry, colour: Colour, bins: Bins) -> None:
    """Fill `out`; `rgb_to_nv12` has checked the arguments."""
    height, width = int(frames.shape[2]), int(frames.shape[3])
    picture = crop_and_rotate(reduce_bins(frames, bins), geometry.crop_box(height, width), geometry.rotation)
    size = geometry.output_size(height, width)
    write_nv12(shrink(picture, geometry.rotated_size(height, width), size), out, colour)


def write_nv12(rgb: Tensor, out: Nv12, colour: Colour) -> None:
    """R'G'B' (N, 3, H, W) of 0..255, not yet rounded -> NV12."""
    luma, blue, red = (_apply_coefficients(pad_to_even(rgb), component) for component in colour.coefficients())
    out.luma.copy_(round_to_uint8(luma))
    out.chroma.copy_(round_to_uint8(torch.stack([_average_2x2(blue), _average_2x2(red)], -1)))


def _apply_coefficients(rgb: Tensor, coefficients: Coefficients) -> Tensor:
    factors = torch.tensor(coefficients[1:], dtype=rgb.dtype, device=rgb.device)
    return torch.einsum("nchw,c->nhw", rgb, factors) + coefficients.offset


def _average_2x2(plane: Tensor) -> Tensor:
    count, height, width = plane.shape
    return plane.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))

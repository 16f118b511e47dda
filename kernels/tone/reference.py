"""Tone in plain torch: bins and the window in float32, the area average, gamma and the matrix in float64."""

import torch
from torch import Tensor

from kernels.area.reference import crop_and_rotate, shrink
from kernels.geometry import Geometry
from kernels.rgb_to_nv12.reference import write_nv12
from kernels.temporal import Bins
from kernels.temporal.reference import reduce_bins
from kernels.tone.curve import Curve, ToneResult


def run(frames: Tensor, out: ToneResult, geometry: Geometry, curve: Curve, bins: Bins) -> None:
    """Fill `out`; `tone` has checked the arguments."""
    height, width = int(frames.shape[-2]), int(frames.shape[-1])
    reduced = reduce_bins(frames.to(torch.float32), bins).to(torch.float32)
    samples = crop_and_rotate(reduced, geometry.crop_box(height, width), geometry.rotation)
    outside = torch.stack([samples < curve.low, samples > curve.high, samples.isnan()], 1)
    out.clipped.copy_(outside.flatten(2).sum(2))
    level = shrink(
        apply_window(samples, curve), geometry.rotated_size(height, width), geometry.output_size(height, width)
    )
    write_nv12(_apply_lut(level.clamp(0, 1) ** curve.gamma, curve), out.picture, curve.colour)


def apply_window(samples: Tensor, curve: Curve) -> Tensor:
    """float32 in 0..1, linear in the samples."""
    return ((samples - curve.low) * curve.slope).nan_to_num(0.0, torch.inf, -torch.inf).clamp(0, 1)


def _apply_lut(level: Tensor, curve: Curve) -> Tensor:
    """Levels of 0..1 -> R'G'B' (N, 3, H, W) of 0..255."""
    if curve.lut is None:
        return 255 * (level if level.ndim == 4 else level[:, None].expand(-1, 3, -1, -1))
    entry = (level * (len(curve.lut) - 1) + 0.5).to(torch.int64)
    return curve.lut[entry].movedim(-1, 1).to(torch.float64)

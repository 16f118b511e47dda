"""Tone in plain torch: the curve in float32, the area average and the matrix in float64."""

import torch
from torch import Tensor

from kernels.area.reference import cut, shrink
from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.rgb_to_nv12.reference import write
from kernels.tone import Curve, Toned


def run(frames: Tensor, out: Toned, geometry: Geometry, curve: Curve, colour: Colour) -> None:
    """Fills `out`; the arguments are those that `tone` has checked."""
    height, width = int(frames.shape[-2]), int(frames.shape[-1])
    samples = cut(frames.to(torch.float32), geometry.box(height, width), geometry.turn)
    out.clipped.copy_(_clipped(samples.flatten(1), curve))
    rgb = _rgb(levels(samples, curve), curve)
    write(shrink(rgb, geometry.upright(height, width), geometry.result(height, width)), out.picture, colour)


def levels(samples: Tensor, curve: Curve) -> Tensor:
    """float32 in 0..1."""
    return ((samples - curve.low) * curve.slope).nan_to_num(0.0, torch.inf, -torch.inf).clamp(0, 1) ** curve.gamma


def _clipped(samples: Tensor, curve: Curve) -> Tensor:
    outside = (samples < curve.low, samples > curve.high, samples.isnan())
    return torch.stack([which.sum(1) for which in outside], 1)


def _rgb(level: Tensor, curve: Curve) -> Tensor:
    """(N, 3, H, W) of 0..255."""
    if curve.lut is None:
        return 255 * (level if level.ndim == 4 else level[:, None].expand(-1, 3, -1, -1))
    entry = (level * (len(curve.lut) - 1) + 0.5).to(torch.int64)
    return curve.lut[entry].movedim(-1, 1)

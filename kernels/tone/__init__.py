"""Deep frames -> crop, turn, window, gamma, colormap, area average -> NV12 in one pass that counts what it clips."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kernels import contract
from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12, allocate

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BT601_LIMITED = Colour()
_DTYPES = ("uint8", "uint16", "float32")
_LUT_SIZES = (256, 1024)


class Toned(NamedTuple):
    """The picture, and `clipped`, int32 (N, 3): samples read that were below the window, above it, not a number."""

    picture: Nv12
    clipped: "Tensor"


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """Sample -> level. `low` and `high`, in the samples' own unit, become 0 and 1; then `** gamma` as in matplotlib's
    PowerNorm (below 1 brightens); then `lut`, uint8 (256 or 1024, 3) of R'G'B' at equal steps, or gray without it.

    Samples outside become 0 or 1, infinities too; what is not a number becomes 0. Raises ValueError.
    """

    low: float
    high: float
    gamma: float = 1.0
    lut: "Tensor | None" = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"curve.low and curve.high must be finite and ascending, not {self.low} and {self.high}")
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"curve.gamma must be finite and above 0, not {self.gamma}")

    @property
    def slope(self) -> float:
        return 1 / (self.high - self.low)


def tone(
    frames: "Tensor",
    geometry: Geometry,
    curve: Curve,
    *,
    colour: Colour = _BT601_LIMITED,
    out: Toned | None = None,
) -> Toned:
    """Gray (N, H, W) or R'G'B' (N, 3, H, W) of uint8, uint16 or float32, any strides, as NV12 of the geometry's size.

    Every sample goes through the curve in float32, R'G'B' channel by channel and without `lut`; the results are
    averaged by area, converted and rounded once, halves to even, as in `rgb_to_nv12`. `out` is filled in place on the
    frames' device. Runs on the current stream and does not wait for it.
    Raises ValueError, naming the argument, for a shape, type, device or size that does not fit.
    """
    contract.frames("frames", frames, "N3HW" if frames.ndim == 4 else "NHW", _DTYPES)
    size = geometry.result(int(frames.shape[-2]), int(frames.shape[-1]))
    if curve.lut is not None:
        _check_lut(curve.lut, frames)
    if out is None:
        out = _allocate(frames.shape[0], size, frames.device)
    contract.target("out.picture", out.picture, frames.shape[0], size, frames.device)
    _check_clipped(out.clipped, frames)
    if frames.is_cuda:
        from kernels.tone import gpu as implementation
    else:
        from kernels.tone import reference as implementation  # type: ignore[no-redef]
    implementation.run(frames, out, geometry, curve, colour)
    return out


def _allocate(count: int, size: tuple[int, int], device: "torch.device") -> Toned:
    import torch

    return Toned(allocate(count, size, device), torch.empty((count, 3), dtype=torch.int32, device=device))


def _check_lut(lut: "Tensor", frames: "Tensor") -> None:
    contract.require_dtype("curve.lut", lut, ("uint8",))
    contract.same_device("curve.lut", lut, frames.device)
    if frames.ndim == 4:
        raise ValueError("curve.lut colours gray frames (N, H, W), and frames is R'G'B'")
    if lut.ndim != 2 or lut.shape[0] not in _LUT_SIZES or lut.shape[1] != 3 or not lut.is_contiguous():
        raise ValueError(f"curve.lut must be a contiguous (256, 3) or (1024, 3), not {tuple(lut.shape)}")


def _check_clipped(clipped: "Tensor", frames: "Tensor") -> None:
    contract.require_dtype("out.clipped", clipped, ("int32",))
    contract.same_device("out.clipped", clipped, frames.device)
    if tuple(clipped.shape) != (frames.shape[0], 3) or not clipped.is_contiguous():
        raise ValueError(f"out.clipped must be a contiguous ({frames.shape[0]}, 3), not {tuple(clipped.shape)}")

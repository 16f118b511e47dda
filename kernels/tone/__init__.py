"""Deep frames -> crop, turn, mean or maximum of neighbours, window, area average, gamma, colormap -> NV12 in one pass
that counts what it clips."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from kernels import contract
from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12, allocate
from kernels.temporal import NO_BINS, Bins

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BT601_LIMITED = Colour()
_DTYPES = ("uint8", "uint16", "float32")
_LUT_SIZES = (256, 1024)


class ToneResult(NamedTuple):
    """The pictures, and `clipped`, int32 (pictures, 3): samples below the window, above it, not a number; of a bin, the
    samples of its mean or maximum."""

    picture: Nv12
    clipped: "Tensor"


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """Sample -> level. `low` and `high`, in the samples' own unit, become 0 and 1; then `** gamma` as in matplotlib's
    PowerNorm (below 1 brightens); then `lut`, uint8 (256 or 1024, 3) of R'G'B' at equal steps, or gray without it.
    `colour` says how R'G'B' becomes NV12.

    Samples outside become 0 or 1, infinities too; what is not a number becomes 0. Raises ValueError.
    """

    low: float
    high: float
    gamma: float = 1.0
    lut: "Tensor | None" = None
    colour: Colour = _BT601_LIMITED

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
    bins: Bins = NO_BINS,
    out: ToneResult | None = None,
) -> ToneResult:
    """Gray (N, H, W) or R'G'B' (N, 3, H, W) of uint8, uint16 or float32, any strides, as NV12 of the geometry's size.

    What was measured is averaged, and then shown: the mean (or maximum) of each sample over the frames of a bin is cut
    off at the window; of that, in float32, the area average goes through gamma and `lut` (R'G'B': channel by channel,
    without `lut`) and is converted and rounded once, halves to even, as in `rgb_to_nv12`. What is not a number makes
    its bin's sample none, too. `out` holds ceil(N / bins.frames) pictures and is filled in place on the frames'
    device. Runs on the current stream and does not wait for it.
    Raises ValueError, naming the argument, for a shape, type, device or size that does not fit.
    """
    contract.require_frames("frames", frames, "N3HW" if frames.ndim == 4 else "NHW", _DTYPES)
    size = geometry.output_size(int(frames.shape[-2]), int(frames.shape[-1]))
    if curve.lut is not None:
        _check_lut(curve.lut, frames)
    count = bins.count(frames.shape[0])
    if out is None:
        out = _allocate(count, size, frames.device)
    contract.require_target("out.picture", out.picture, count, size, frames.device)
    _check_clipped(out.clipped, count, frames.device)
    if frames.is_cuda:
        from kernels.tone import gpu as implementation
    else:
        from kernels.tone import reference as implementation  # type: ignore[no-redef]
    implementation.run(frames, out, geometry, curve, bins)
    return out


def _allocate(count: int, size: tuple[int, int], device: "torch.device") -> ToneResult:
    import torch

    return ToneResult(allocate(count, size, device), torch.empty((count, 3), dtype=torch.int32, device=device))


def _check_lut(lut: "Tensor", frames: "Tensor") -> None:
    contract.require_dtype("curve.lut", lut, ("uint8",))
    contract.require_same_device("curve.lut", lut, frames.device)
    if frames.ndim == 4:
        raise ValueError("curve.lut colours gray frames (N, H, W), and frames is R'G'B'")
    if lut.ndim != 2 or lut.shape[0] not in _LUT_SIZES or lut.shape[1] != 3 or not lut.is_contiguous():
        raise ValueError(f"curve.lut must be a contiguous (256, 3) or (1024, 3), not {tuple(lut.shape)}")


def _check_clipped(clipped: "Tensor", count: int, device: "torch.device") -> None:
    contract.require_dtype("out.clipped", clipped, ("int32",))
    contract.require_same_device("out.clipped", clipped, device)
    if tuple(clipped.shape) != (count, 3) or not clipped.is_contiguous():
        raise ValueError(f"out.clipped must be a contiguous ({count}, 3), not {tuple(clipped.shape)}")

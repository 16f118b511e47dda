"""Deep frames -> crop, rotation, mean or maximum of neighbours, window, area average, gamma, colormap -> NV12, in one
pass that also counts the clipped samples."""

from typing import TYPE_CHECKING

from kernels import contract
from kernels.geometry import Geometry
from kernels.nv12 import allocate
from kernels.temporal import NO_BINS, Bins
from kernels.tone.curve import Curve, ToneResult

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Curve", "ToneResult", "tone"]

_DTYPES = ("uint8", "uint16", "float32")
_LUT_SIZES = (256, 1024)


def tone(
    frames: "Tensor",
    geometry: Geometry,
    curve: Curve,
    *,
    bins: Bins = NO_BINS,
    out: ToneResult | None = None,
) -> ToneResult:
    """Gray (N, H, W) or R'G'B' (N, 3, H, W) of uint8, uint16 or float32, any strides -> NV12 at the geometry's size.

    Raw samples are averaged first and toned afterwards: the mean (or maximum) of each sample over the frames of a bin,
    the window in float32, the area average, gamma and `lut` (R'G'B': per channel, without `lut`), and the conversion
    to NV12 with one rounding, halves to even, as in `rgb_to_nv12`. A NaN makes the sample of its bin NaN.
    `out` holds ceil(N / bins.frames) pictures on the device of the frames and is filled in place; without it, new
    planes are allocated. Runs on the current stream and does not wait for it.
    Raises ValueError, naming the argument, for a shape, type, device or size that does not fit.
    """
    contract.require_frames("frames", frames, "N3HW" if frames.ndim == 4 else "NHW", _DTYPES)
    size = geometry.output_size(int(frames.shape[-2]), int(frames.shape[-1]))
    if curve.lut is not None:
        _check_lut(curve.lut, frames)
    count = bins.count(frames.shape[0])
    if out is None:
        import torch

        clipped = torch.empty((count, 3), dtype=torch.int32, device=frames.device)
        out = ToneResult(allocate(count, size, frames.device), clipped)
    contract.require_target("out.picture", out.picture, count, size, frames.device)
    _check_clipped(out.clipped, count, frames.device)
    if frames.is_cuda:
        from kernels.tone import gpu as implementation
    else:
        from kernels.tone import reference as implementation  # type: ignore[no-redef]
    implementation.run(frames, out, geometry, curve, bins)
    return out


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

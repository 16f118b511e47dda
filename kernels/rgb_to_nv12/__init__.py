"""RGB planes -> crop, rotation, mean or maximum of neighbours, area average -> NV12, in one pass over memory."""

from typing import TYPE_CHECKING

from kernels import contract
from kernels.colour import Colour
from kernels.geometry import Geometry
from kernels.nv12 import Nv12, allocate
from kernels.temporal import NO_BINS, Bins

if TYPE_CHECKING:
    from torch import Tensor

_BT601_LIMITED = Colour()


def rgb_to_nv12(
    frames: "Tensor",
    geometry: Geometry,
    *,
    colour: Colour = _BT601_LIMITED,
    bins: Bins = NO_BINS,
    out: Nv12 | None = None,
) -> Nv12:
    """Full-range R'G'B' pictures as NV12 at the geometry's size; odd sides are padded by a replicated edge.

    `frames` is uint8 (N, 3, H, W) with any strides: use `permute(0, 3, 1, 2)` for (N, H, W, 3). `out` holds
    ceil(N / bins.frames) pictures on the same device; without it, new packed planes are allocated.
    Luma is the area average under each output pixel, converted with the matrix of `colour`; chroma is the average
    under each 2 x 2 output pixels (centred). Each is rounded once, halves to even.
    Runs on the current stream and does not wait for it.
    Raises ValueError, naming the argument, for a shape, type, device or size that does not fit.
    """
    contract.require_frames("frames", frames, "N3HW", ("uint8",))
    size = geometry.output_size(frames.shape[2], frames.shape[3])
    count = bins.count(frames.shape[0])
    if out is None:
        out = allocate(count, size, frames.device)
    contract.require_target("out", out, count, size, frames.device)
    if frames.is_cuda:
        from kernels.rgb_to_nv12 import gpu as implementation
    else:
        from kernels.rgb_to_nv12 import reference as implementation  # type: ignore[no-redef]
    implementation.run(frames, out, geometry, colour, bins)
    return out

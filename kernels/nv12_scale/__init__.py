"""NV12 -> crop, rotation, mean or maximum of neighbours, area average -> NV12, in one pass over memory."""

from kernels import contract
from kernels.geometry import Geometry
from kernels.nv12 import Nv12, allocate
from kernels.temporal import NO_BINS, Bins


def nv12_scale(
    frames: Nv12, geometry: Geometry, *, to_limited_range: bool = False, bins: Bins = NO_BINS, out: Nv12 | None = None
) -> Nv12:
    """NV12 pictures at the geometry's size; odd sides are padded by a replicated edge, crops must be even.

    `frames` are N decoded pictures in planes with any strides, Cb and Cr next to each other. `to_limited_range`
    converts full-range samples (camera JPEG); otherwise the range stays. `out` holds ceil(N / bins.frames) pictures
    on the same device; without it, new packed planes are allocated.
    Each sample is the area average of the source samples under it, rounded once, halves to even; chroma stays centred.
    Runs on the current stream and does not wait for it.
    Raises ValueError, naming the argument, for a shape, type, device, crop or size that does not fit.
    """
    contract.require_nv12("frames", frames)
    if frames.chroma.stride(3) != 1:
        raise ValueError("frames.chroma must have Cb and Cr next to each other")
    if any(side % 2 for side in geometry.crop or ()):
        raise ValueError(f"crop {geometry.crop} must be even, since NV12 has one chroma sample for 2 x 2 pixels")
    size = geometry.output_size(*frames.size)
    count = bins.count(frames.luma.shape[0])
    if out is None:
        out = allocate(count, size, frames.luma.device)
    contract.require_target("out", out, count, size, frames.luma.device)
    if frames.luma.is_cuda:
        from kernels.nv12_scale import gpu as implementation
    else:
        from kernels.nv12_scale import reference as implementation  # type: ignore[no-redef]
    implementation.run(frames, out, geometry, to_limited_range, bins)
    return out

"""NV12 to NV12 in plain torch, in float64."""

from torch import Tensor

from kernels.area.reference import crop_and_rotate, pad_to_even, round_to_uint8, shrink
from kernels.colour import LIMITED_RANGE_CHROMA, LIMITED_RANGE_LUMA
from kernels.geometry import CropBox, Geometry
from kernels.nv12 import Nv12
from kernels.temporal import Bins
from kernels.temporal.reference import reduce_nv12_bins


def run(frames: Nv12, out: Nv12, geometry: Geometry, to_limited_range: bool, bins: Bins) -> None:
    """Fill `out`; `nv12_scale` has checked the arguments."""
    luma, chroma = reduce_nv12_bins(frames, bins)
    luma = _shrink_plane(luma, frames.size, geometry, 1)
    chroma = _shrink_plane(chroma.movedim(3, 1), frames.size, geometry, 2).movedim(1, 3)
    if to_limited_range:
        luma = LIMITED_RANGE_LUMA[0] + LIMITED_RANGE_LUMA[1] * luma
        chroma = LIMITED_RANGE_CHROMA[0] + LIMITED_RANGE_CHROMA[1] * chroma
    out.luma.copy_(round_to_uint8(pad_to_even(luma)))
    out.chroma.copy_(round_to_uint8(chroma))


def _shrink_plane(planes: Tensor, frame: tuple[int, int], geometry: Geometry, unit: int) -> Tensor:
    box = CropBox(*(side // unit for side in geometry.crop_box(*frame)))
    upright = crop_and_rotate(planes, box, geometry.rotation)
    return shrink(upright, geometry.rotated_size(*frame), geometry.output_size(*frame), unit)

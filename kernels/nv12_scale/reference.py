"""NV12 to NV12 in plain torch, in float64."""

from torch import Tensor

from kernels.area.reference import cut, grown, rounded, shrink
from kernels.colour import NARROW_CHROMA, NARROW_LUMA
from kernels.geometry import Geometry
from kernels.nv12 import Nv12
from kernels.temporal import Bins
from kernels.temporal.reference import binned_nv12


def run(frames: Nv12, out: Nv12, geometry: Geometry, narrow: bool, bins: Bins) -> None:
    """Fills `out`; the arguments are those that `nv12_scale` has checked."""
    luma, chroma = binned_nv12(frames, bins)
    luma = _shrunk(luma, frames.size, geometry, 1)
    chroma = _shrunk(chroma.movedim(3, 1), frames.size, geometry, 2).movedim(1, 3)
    if narrow:
        luma = NARROW_LUMA[0] + NARROW_LUMA[1] * luma
        chroma = NARROW_CHROMA[0] + NARROW_CHROMA[1] * chroma
    out.luma.copy_(rounded(grown(luma)))
    out.chroma.copy_(rounded(chroma))


def _shrunk(planes: Tensor, frame: tuple[int, int], geometry: Geometry, unit: int) -> Tensor:
    top, left, height, width = (side // unit for side in geometry.box(*frame))
    turned = cut(planes, (top, left, height, width), geometry.turn)
    return shrink(turned, geometry.upright(*frame), geometry.result(*frame), unit)

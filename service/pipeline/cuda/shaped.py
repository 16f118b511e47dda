"""A Shaping done by the kernels, on whatever device the images are: their torch references where that is the CPU."""

import torch
from torch import Tensor

from kernels.geometry import Geometry
from kernels.nv12 import Nv12, even
from kernels.nv12_scale import nv12_scale
from kernels.rgb_to_nv12 import rgb_to_nv12
from kernels.temporal import Bins
from kernels.tone import Curve, Toned, tone
from service.pipeline.cuda.driver import Shaping, Tones
from service.pipeline.cuda.faults import CudaUnsupported

_BLACK_LUMA, _NEUTRAL = 16, 128


class Shaper:
    """Keeps the colour table of the tones at hand on the device."""

    def __init__(self) -> None:
        self._table: tuple[Tones, Tensor] | None = None

    def shape(self, images: Tensor, kind: str, shaping: Shaping) -> tuple[Tensor, Tensor | None]:
        """(N, 3, H, W), (N, H, W) or packed NV12 images of one kind -> (P, H*3/2, W) NV12 of the canvas and, with
        tones, the counts of clipped samples, int32 (P, 3); P is N, or how many bins they make. On the current stream.
        Raises CudaUnsupported."""
        geometry, bins = _geometry(shaping), Bins(shaping.members, shaping.over)
        packed, inside = _canvas(bins.count(len(images)), images.device, shaping)
        if kind == "nv12":
            _nv12(images, geometry, shaping, inside)
            return packed, None
        if shaping.tones:
            clipped = torch.empty((len(packed), 3), dtype=torch.int32, device=images.device)
            curve = self._curve(shaping.tones, images.device)
            tone(images, geometry, curve, bins=bins, out=Toned(inside, clipped))
            return packed, clipped
        rgb = images[:, None].expand(-1, 3, -1, -1) if images.ndim == 3 else images
        rgb_to_nv12(rgb, geometry, bins=bins, out=inside)
        return packed, None

    def _curve(self, tones: Tones, device: torch.device) -> Curve:
        if tones.table is None:
            return Curve(tones.low, tones.high, tones.gamma)
        if self._table is None or self._table[0] is not tones:
            self._table = (tones, torch.tensor(tones.table, device=device))
        return Curve(tones.low, tones.high, tones.gamma, self._table[1])


def _geometry(shaping: Shaping) -> Geometry:
    crop = None
    if shaping.crop:
        left, top, right, bottom = shaping.crop
        crop = (top, left, bottom - top, right - left)
    return Geometry((shaping.size[1], shaping.size[0]), crop, shaping.turn)


def _canvas(pictures: int, device: torch.device, shaping: Shaping) -> tuple[Tensor, Nv12]:
    """(packed, the part of it that the pictures go to); black around them."""
    wide, high = shaping.canvas
    packed = torch.empty((pictures, high // 2 * 3, wide), dtype=torch.uint8, device=device)
    whole = Nv12.of(packed)
    height, width = even((shaping.size[1], shaping.size[0]))
    if (width, height) != shaping.canvas:
        whole.luma.fill_(_BLACK_LUMA)
        whole.chroma.fill_(_NEUTRAL)
    left, top = shaping.place
    luma = whole.luma[:, top : top + height, left : left + width]
    chroma = whole.chroma[:, top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
    return packed, Nv12(luma, chroma)


def _nv12(images: Tensor, geometry: Geometry, shaping: Shaping, inside: Nv12) -> None:
    if any(side % 2 for side in geometry.crop or ()):
        raise CudaUnsupported("an odd crop of 4:2:0 pictures is made by the CPU")
    bins = Bins(shaping.members, shaping.over)
    nv12_scale(Nv12.of(images), geometry, narrow=shaping.full_range, bins=bins, out=inside)


def to_planes(packed: Tensor) -> None:
    """(N, H*3/2, W) NV12 -> planes of Y, Cb, Cr one after the other, in place."""
    chroma = Nv12.of(packed).chroma
    planes = chroma.permute(0, 3, 1, 2).reshape(len(packed), -1, packed.shape[2])
    packed[:, packed.shape[1] // 3 * 2 :] = planes

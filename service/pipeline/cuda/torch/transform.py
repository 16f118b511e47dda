"""Runs a TransformSpec with the kernels; for tensors on the CPU, with their torch references."""

import torch
from torch import Tensor

from kernels.geometry import CropBox, Geometry
from kernels.nv12 import Nv12, even_size
from kernels.nv12_scale import nv12_scale
from kernels.rgb_to_nv12 import rgb_to_nv12
from kernels.temporal import Bins
from kernels.tone import Curve, ToneResult, tone
from service.pipeline.cuda.driver import ToneCurve, TransformSpec
from service.pipeline.cuda.errors import CudaUnsupported

_BLACK_LUMA, _NEUTRAL_CHROMA = 16, 128


class KernelTransformer:
    """Keeps the colour table of the current tone curve on the device."""

    def __init__(self) -> None:
        self._table: tuple[ToneCurve, Tensor] | None = None

    def transform(self, images: Tensor, kind: str, spec: TransformSpec) -> tuple[Tensor, Tensor | None]:
        """Images of one kind, (N, 3, H, W), (N, H, W) or packed NV12 (N, H*3/2, W), to pictures on the canvas.

        Returns NV12 (P, H*3/2, W) and, with a tone curve, the counts of clipped samples, int32 (P, 3). P is N, or the
        number of bins. Runs on the current stream. Raises CudaUnsupported.
        """
        geometry, bins = _geometry(spec), Bins(spec.bin_size, spec.bin_mode)
        packed, inside = _allocate_canvas(bins.count(len(images)), images.device, spec)
        if kind == "nv12":
            if any(side % 2 for side in geometry.crop or ()):
                raise CudaUnsupported("odd crops of 4:2:0 frames run on the CPU")
            planes = Nv12.from_packed(images)
            nv12_scale(planes, geometry, to_limited_range=spec.full_range, bins=bins, out=inside)
            return packed, None
        if spec.tone:
            clipped = torch.empty((len(packed), 3), dtype=torch.int32, device=images.device)
            curve = self._curve(spec.tone, images.device)
            tone(images, geometry, curve, bins=bins, out=ToneResult(inside, clipped))
            return packed, clipped
        rgb = images[:, None].expand(-1, 3, -1, -1) if images.ndim == 3 else images
        rgb_to_nv12(rgb, geometry, bins=bins, out=inside)
        return packed, None

    def _curve(self, tone_curve: ToneCurve, device: torch.device) -> Curve:
        if tone_curve.table is None:
            return Curve(tone_curve.low, tone_curve.high, tone_curve.gamma)
        if self._table is None or self._table[0] is not tone_curve:
            self._table = (tone_curve, torch.tensor(tone_curve.table, device=device))
        return Curve(tone_curve.low, tone_curve.high, tone_curve.gamma, self._table[1])


def _geometry(spec: TransformSpec) -> Geometry:
    crop = None
    if spec.crop:
        left, top, right, bottom = spec.crop
        crop = CropBox(top, left, bottom - top, right - left)
    return Geometry((spec.size[1], spec.size[0]), crop, spec.rotation)


def _allocate_canvas(pictures: int, device: torch.device, spec: TransformSpec) -> tuple[Tensor, Nv12]:
    """(packed canvases, views of the area inside that the pictures fill); black around it."""
    canvas_width, canvas_height = spec.canvas
    packed = torch.empty((pictures, canvas_height // 2 * 3, canvas_width), dtype=torch.uint8, device=device)
    canvas = Nv12.from_packed(packed)
    height, width = even_size((spec.size[1], spec.size[0]))
    if (width, height) != spec.canvas:
        canvas.luma.fill_(_BLACK_LUMA)
        canvas.chroma.fill_(_NEUTRAL_CHROMA)
    left, top = spec.offset
    luma = canvas.luma[:, top : top + height, left : left + width]
    chroma = canvas.chroma[:, top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
    return packed, Nv12(luma, chroma)


def nv12_to_i420(packed: Tensor) -> None:
    """NV12 (N, H*3/2, W) -> the planes of Y, Cb, Cr one after the other, in place."""
    chroma = Nv12.from_packed(packed).chroma
    planes = chroma.permute(0, 3, 1, 2).reshape(len(packed), -1, packed.shape[2])
    packed[:, packed.shape[1] // 3 * 2 :] = planes

"""Decides which images the device can process, and how; all others go to the CPU. TIFF is decoded here, on the CPU."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.pipeline.bins import member_options
from service.pipeline.cuda.driver import Samples, ToneCurve
from service.pipeline.cuda.geometry import SourceGeometry, TransformPlan, plan_bin_transform, plan_transform
from service.pipeline.frames import Fallback, MediaUnreadable, SizeMismatch
from service.pipeline.images import exif
from service.pipeline.images.decoder import require_decodable
from service.pipeline.images.header import JPEG_MAGIC, TIFF_MAGICS, DecodeOptions
from service.pipeline.images.jpeg import jpeg_header, jpeg_layout
from service.pipeline.images.tiff import decode_tiff
from service.pipeline.picture import ClipCounts
from service.pipeline.tone.colormaps import colormap
from service.pipeline.tone.window import Window
from service.plan.capability import DEVICE_BATCH
from service.plan.render_plan import RenderOptions
from service.plan.tone import Tone

_UPLOADABLE_TYPES: tuple[type[Any], ...] = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True)
class Candidate:
    """`size` is (width, height) as stored; `samples` are decoded already, else the bytes are a JPEG for the device.

    `clipped` is what lies outside of the tone's window where the device's own count is of something else. `bin` is how
    a whole bin of such images is shaped, if the device can do that; not `alone` is what only makes sense in one.
    """

    size: tuple[int, int]
    channels: int
    transform: TransformPlan
    decoder: str
    samples: Samples | None = None
    clipped: ClipCounts | None = None
    bin_transform: TransformPlan | None = None
    allowed_unbinned: bool = True

    @property
    def batch_key(self) -> object:
        """Equal for images that can be shaped in one launch."""
        kind = None if self.samples is None else self.samples.dtype
        return self.size, self.channels, kind, self.transform.spec, self.bin_transform

    def transform_for(self, in_bin: bool) -> TransformPlan:
        """By itself, or with the rest of its bin."""
        return self.bin_transform if in_bin and self.bin_transform else self.transform


class CandidateSelector:
    """For the options of one segment. `counts_itself` says that the device's counts of clipped samples come back;
    `members` is how many frames may go through the device as one bin."""

    def __init__(self, options: RenderOptions, device_counts_clipped: bool) -> None:
        self._segment_options, self._options, self._tone = options, member_options(options), options.tone
        self._device_counts_clipped = device_counts_clipped and options.crop is None
        self._gray_curve, self._rgb_curve = _tone_curves(options.tone)
        self.bin_size = options.bins.size if options.bins and options.bins.size <= DEVICE_BATCH else 1

    def select(self, data: bytes) -> Candidate | Fallback | None:
        """None for what was never the device's: other formats, and what the CPU finds fault with."""
        try:
            if data.startswith(JPEG_MAGIC):
                return self._select_jpeg(data)
            if data.startswith(TIFF_MAGICS):
                return self._select_tiff(data)
        except (MediaUnreadable, SizeMismatch):
            pass  # the CPU's stages come to the same end and tell it
        return None

    def _select_jpeg(self, data: bytes) -> Candidate | Fallback | None:
        header = jpeg_header(data)
        require_decodable(data, header, self._options.max_pixels)
        form = jpeg_layout(data).pixel_format
        toned = form == "gray" and self._tone is not None and self._tone.shallow
        if form == "bgr0" or (toned and not self._device_counts_clipped):
            return None
        orientation = exif.orientation(header.exif) if header.exif else 1
        stored = SourceGeometry((header.width, header.height), orientation, self._gray_curve if toned else None)
        place = plan_transform(self._options, *stored)
        if isinstance(place, Fallback):
            return place
        return self._with_bin(Candidate(stored.size, header.channels, place, "cuda-nvjpeg"), stored)

    def _select_tiff(self, data: bytes) -> Candidate | Fallback | None:
        page = decode_tiff(data, DecodeOptions.of_render(self._options))
        samples = page.samples
        tones = self._tone_curve_for(samples)
        if samples.dtype.type not in _UPLOADABLE_TYPES or tones == "no":
            return None
        assert not isinstance(tones, str)
        stored = SourceGeometry((samples.shape[1], samples.shape[0]), page.orientation, tones)
        place = plan_transform(self._options, *stored)
        if isinstance(place, Fallback):
            return place
        clipped = self._count_clipped(samples) if tones else None
        found = Candidate(stored.size, 1 if samples.ndim == 2 else 3, place, "cuda-tifffile", samples, clipped)
        return self._with_bin(found, stored)

    def _with_bin(self, candidate: Candidate, source: SourceGeometry) -> Candidate | None:
        """With its bin, if any. A bin averages samples as they were measured, before any tone: alone they are the
        CPU's. That counts what lies outside of the mean of whole pictures, so crops are its own, too."""
        if self._segment_options.bins is None:
            return candidate
        mixes = self._segment_options.bins.mode == "max" and candidate.channels > 1 and source.tone is None
        whole = None if mixes or self.bin_size == 1 else plan_bin_transform(self._segment_options, source)
        toned = source.tone is not None
        if toned and (whole is None or not self._device_counts_clipped):
            return None
        return replace(candidate, bin_transform=whole, allowed_unbinned=not toned)

    def _tone_curve_for(self, samples: Samples) -> ToneCurve | str | None:
        """None for samples that are shown as they are, "no" for those that the device cannot show."""
        if samples.dtype == np.uint8 and not (samples.ndim == 2 and self._tone and self._tone.shallow):
            return None
        tones = self._gray_curve if samples.ndim == 2 else self._rgb_curve
        return tones or "no"

    def _count_clipped(self, samples: Samples) -> ClipCounts | None:
        assert self._tone is not None
        return None if self._device_counts_clipped else Window.of(self._tone).count_clipped(samples)


def _tone_curves(tone: Tone | None) -> tuple[ToneCurve | None, ToneCurve | None]:
    """For gray samples and for R'G'B'; None where there is no tone, or one that the device has not."""
    if tone is None:
        return None, None
    table = colormap(tone.colormap)
    gray = ToneCurve(tone.low, tone.high, tone.gamma, np.ascontiguousarray(table[::-1] if tone.inverse else table))
    rgb = None if tone.inverse else ToneCurve(tone.low, tone.high, tone.gamma, None)
    return gray, rgb

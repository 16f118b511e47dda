"""Selects the images that the device can process and plans their transform. TIFF is decoded here, on the CPU."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.pipeline.composites.bins import member_options
from service.pipeline.cuda.driver import Samples, ToneCurve
from service.pipeline.cuda.geometry import SourceGeometry, TransformPlan, plan_bin_transform, plan_transform
from service.pipeline.frames import Fallback, MediaUnreadable, SizeMismatch, media_faults
from service.pipeline.images import exif
from service.pipeline.images.decoder import plan_header_conversion, require_decodable
from service.pipeline.images.header import JPEG_MAGIC, TIFF_MAGICS, DecodeOptions
from service.pipeline.images.jpeg import jpeg_header, jpeg_layout
from service.pipeline.images.tiff import decode_tiff
from service.pipeline.picture import ClipCounts, has_number
from service.pipeline.tone.colormaps import colormap
from service.pipeline.tone.window import Window
from service.plan.capability import DEVICE_BATCH
from service.plan.render_plan import RenderOptions
from service.plan.tone import Tone

_UPLOADABLE_TYPES: tuple[type[Any], ...] = (np.uint8, np.uint16, np.float32)

_COLOUR_PROFILE = Fallback("decode", "unsupported", "its colours are converted from a profile, which the CPU does")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image that the device can process."""

    # (width, height) as stored, in pixels.
    size: tuple[int, int]
    channels: int
    # Of this image alone.
    transform: TransformPlan
    decoder: str
    # Decoded samples to upload. None: the device decodes the bytes, a JPEG, or the frame of a video.
    samples: Samples | None = None
    # Counted on the CPU, if the device would not count the same samples.
    clipped: ClipCounts | None = None
    # Of a whole bin of such images, if the device can merge them.
    bin_transform: TransformPlan | None = None
    # False: the image may only be processed as part of a whole bin.
    allowed_unbinned: bool = True
    # As in a Picture.
    conversions: tuple[str, ...] = ()

    @property
    def batch_key(self) -> object:
        """Equal for images that can be transformed in one launch."""
        dtype = None if self.samples is None else self.samples.dtype
        return self.size, self.channels, dtype, self.transform.spec, self.bin_transform

    def transform_for(self, in_bin: bool) -> TransformPlan:
        """The transform of the whole bin, or of this image alone."""
        return self.bin_transform if in_bin and self.bin_transform else self.transform


class CandidateSelector:
    """Selects by the options of one segment. `bin_size` is the number of frames per bin that the device may merge.

    `device_counts_clipped`: the device's counts of clipped samples are downloaded and used.
    """

    def __init__(self, options: RenderOptions, device_counts_clipped: bool) -> None:
        self._segment_options, self._options, self._tone = options, member_options(options), options.tone
        self._device_counts_clipped = device_counts_clipped and options.crop is None
        self._gray_curve, self._rgb_curve = _tone_curves(options.tone)
        self.bin_size = options.bins.size if options.bins and options.bins.size <= DEVICE_BATCH else 1

    def select(self, data: bytes) -> Candidate | Fallback | None:
        """The candidate, a Fallback with its reason, or None for other formats and for damaged images."""
        try:
            with media_faults("decoded"):
                if data.startswith(JPEG_MAGIC):
                    return self._select_jpeg(data)
                if data.startswith(TIFF_MAGICS):
                    return self._select_tiff(data)
        except (MediaUnreadable, SizeMismatch):
            pass  # the stages on the CPU find the same fault and report it
        return None

    def _select_jpeg(self, data: bytes) -> Candidate | Fallback | None:
        header = jpeg_header(data)
        require_decodable(data, header, self._options.max_pixels)
        conversion = plan_header_conversion(header)
        if conversion.is_needed:
            return _COLOUR_PROFILE
        layout = jpeg_layout(data)
        pixel_format = layout.pixel_format
        toned = pixel_format == "gray" and self._tone is not None and self._tone.shallow
        if layout.ambiguous or pixel_format == "bgr0" or (toned and not self._device_counts_clipped):
            return None
        orientation = exif.orientation(header.exif) if header.exif else 1
        source = SourceGeometry((header.width, header.height), orientation, self._gray_curve if toned else None)
        plan = plan_transform(self._options, source)
        if isinstance(plan, Fallback):
            return plan
        return self._with_bin(
            Candidate(source.size, header.channels, plan, "cuda-nvjpeg", conversions=conversion.words), source
        )

    def _select_tiff(self, data: bytes) -> Candidate | Fallback | None:
        page = decode_tiff(data, DecodeOptions.of_render(self._options))
        samples, gray = page.samples, page.samples.ndim == 2
        if samples.dtype.type not in _UPLOADABLE_TYPES or (samples.dtype.kind == "f" and not has_number(samples)):
            return None
        curve = None
        if samples.dtype != np.uint8 or (gray and self._tone and self._tone.shallow):
            curve = self._gray_curve if gray else self._rgb_curve
            if curve is None:
                return None
        source = SourceGeometry((samples.shape[1], samples.shape[0]), page.orientation, curve)
        plan = plan_transform(self._options, source)
        if isinstance(plan, Fallback):
            return plan
        clipped = None
        if curve and not self._device_counts_clipped:
            clipped = Window(curve.low, curve.high).count_clipped(samples)
        candidate = Candidate(
            source.size, 1 if gray else 3, plan, "cuda-tifffile", samples, clipped, conversions=page.conversions
        )
        return self._with_bin(candidate, source)

    def _with_bin(self, candidate: Candidate, source: SourceGeometry) -> Candidate | None:
        """Add the transform of the whole bin, if there are bins.

        A bin of toned images averages the raw samples before the window, so such an image cannot be processed alone on
        the device; and the counts of clipped samples are those of the mean of whole pictures, so a crop is left to the
        CPU. The maximum of coloured JPEGs is merged on the CPU, which takes a pixel's colour from its brightest frame.
        """
        bins = self._segment_options.bins
        if bins is None:
            return candidate
        toned = source.tone is not None
        brightest_colour = bins.mode == "max" and candidate.channels > 1 and not toned
        mergeable = self.bin_size > 1 and not brightest_colour
        bin_transform = plan_bin_transform(self._segment_options, source) if mergeable else None
        if toned and (bin_transform is None or not self._device_counts_clipped):
            return None
        return replace(candidate, bin_transform=bin_transform, allowed_unbinned=not toned)


def _tone_curves(tone: Tone | None) -> tuple[ToneCurve | None, ToneCurve | None]:
    """(gray, R'G'B'): None without a tone, and for inverse tones of R'G'B', which the device does not support."""
    if tone is None:
        return None, None
    table = colormap(tone.colormap)
    gray = ToneCurve(tone.low, tone.high, tone.gamma, np.ascontiguousarray(table[::-1] if tone.inverse else table))
    rgb = None if tone.inverse else ToneCurve(tone.low, tone.high, tone.gamma, None)
    return gray, rgb

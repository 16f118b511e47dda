"""Which images a device makes pictures of, and how; all others are the CPU's. TIFF is decoded here, on the CPU."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from service.pipeline import exif
from service.pipeline.bins import member_options
from service.pipeline.colormaps import colormap
from service.pipeline.cuda.driver import Samples, Tones
from service.pipeline.cuda.placing import Shaped, Stored, shaped, shaped_bin
from service.pipeline.decode import require_decodable
from service.pipeline.frames import Fallback, Unreadable
from service.pipeline.geometry import SizeRefused
from service.pipeline.image_header import JPEG_MAGIC, TIFF_MAGICS, jpeg_header
from service.pipeline.jpeg_shape import jpeg_shape
from service.pipeline.tiff import decode_tiff
from service.pipeline.window import Clipped, Window
from service.plan.capability import DEVICE_BATCH
from service.plan.render_plan import RenderOptions
from service.plan.tone import Tone

_UPLOADED: tuple[type[Any], ...] = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, slots=True)
class Candidate:
    """`size` is (width, height) as stored; `samples` are decoded already, else the bytes are a JPEG for the device.

    `clipped` is what lies outside of the tone's window where the device's own count is of something else. `bin` is how
    a whole bin of such images is shaped, if the device can do that; not `alone` is what only makes sense in one.
    """

    size: tuple[int, int]
    colours: int
    shaped: Shaped
    decoder: str
    samples: Samples | None = None
    clipped: Clipped | None = None
    bin: Shaped | None = None
    alone: bool = True

    @property
    def alike(self) -> object:
        """Equal for images that can be shaped in one launch."""
        kind = None if self.samples is None else self.samples.dtype
        return self.size, self.colours, kind, self.shaped.shaping, self.bin

    def placed(self, in_bin: bool) -> Shaped:
        """By itself, or with the rest of its bin."""
        return self.bin if in_bin and self.bin else self.shaped


class Candidates:
    """For the options of one segment. `counts_itself` says that the device's counts of clipped samples come back;
    `members` is how many frames may go through the device as one bin."""

    def __init__(self, options: RenderOptions, counts_itself: bool) -> None:
        self._output, self._options, self._tone = options, member_options(options), options.tone
        self._counts_itself = counts_itself and options.crop is None
        self._gray, self._rgb = _tones(options.tone)
        self.members = options.bins.size if options.bins and options.bins.size <= DEVICE_BATCH else 1

    def of(self, data: bytes) -> Candidate | Fallback | None:
        """None for what was never the device's: other formats, and what the CPU finds fault with."""
        try:
            if data.startswith(JPEG_MAGIC):
                return self._jpeg(data)
            if data.startswith(TIFF_MAGICS):
                return self._tiff(data)
        except (Unreadable, SizeRefused):
            pass  # the CPU's stages come to the same end and tell it
        return None

    def _jpeg(self, data: bytes) -> Candidate | Fallback | None:
        header = jpeg_header(data)
        require_decodable(data, header, self._options.max_pixels)
        form = jpeg_shape(data).form
        toned = form == "gray" and self._tone is not None and self._tone.shallow
        if form == "bgr0" or (toned and not self._counts_itself):
            return None
        orientation = exif.orientation(header.exif) if header.exif else 1
        stored = Stored((header.width, header.height), orientation, self._gray if toned else None)
        place = shaped(self._options, *stored)
        if isinstance(place, Fallback):
            return place
        return self._offered(Candidate(stored.size, header.channels, place, "cuda-nvjpeg"), stored)

    def _tiff(self, data: bytes) -> Candidate | Fallback | None:
        page = decode_tiff(data, self._options.max_pixels, self._options.background)
        samples = page.samples
        tones = self._tones_of(samples)
        if samples.dtype.type not in _UPLOADED or tones == "no":
            return None
        assert not isinstance(tones, str)
        stored = Stored((samples.shape[1], samples.shape[0]), page.orientation, tones)
        place = shaped(self._options, *stored)
        if isinstance(place, Fallback):
            return place
        clipped = self._clipped(samples) if tones else None
        found = Candidate(stored.size, 1 if samples.ndim == 2 else 3, place, "cuda-tifffile", samples, clipped)
        return self._offered(found, stored)

    def _offered(self, found: Candidate, stored: Stored) -> Candidate | None:
        """With its bin, if any. A bin averages samples as they were measured, before any tone: alone they are the
        CPU's. That counts what lies outside of the mean of whole pictures, so crops are its own, too."""
        if self._output.bins is None:
            return found
        mixes = self._output.bins.mode == "max" and found.colours > 1 and stored.tones is None
        whole = None if mixes or self.members == 1 else shaped_bin(self._output, stored)
        toned = stored.tones is not None
        if toned and (whole is None or not self._counts_itself):
            return None
        return replace(found, bin=whole, alone=not toned)

    def _tones_of(self, samples: Samples) -> Tones | str | None:
        """None for samples that are shown as they are, "no" for those that the device cannot show."""
        if samples.dtype == np.uint8 and not (samples.ndim == 2 and self._tone and self._tone.shallow):
            return None
        tones = self._gray if samples.ndim == 2 else self._rgb
        return tones or "no"

    def _clipped(self, samples: Samples) -> Clipped | None:
        assert self._tone is not None
        return None if self._counts_itself else Window(self._tone.low, self._tone.high).clipped(samples)


def _tones(tone: Tone | None) -> tuple[Tones | None, Tones | None]:
    """For gray samples and for R'G'B'; None where there is no tone, or one that the device has not."""
    if tone is None:
        return None, None
    table = colormap(tone.colormap)
    gray = Tones(tone.low, tone.high, tone.gamma, np.ascontiguousarray(table[::-1] if tone.inverse else table))
    rgb = None if tone.inverse else Tones(tone.low, tone.high, tone.gamma, None)
    return gray, rgb

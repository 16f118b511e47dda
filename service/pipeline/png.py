"""PNG beyond plain 8-bit gray and RGB. 16 bits through libpng: Pillow silently cuts RGB to 8 bits."""

import io
import warnings

import numpy as np
from PIL import Image

from service.pipeline.frames import MediaUnreadable
from service.pipeline.image_header import ImageHeader
from service.pipeline.samples import Samples, composite_over

Image.MAX_IMAGE_PIXELS = None  # the limit is held before, on the header


def decode_png(data: bytes, header: ImageHeader, background: str) -> Samples:
    """Gray or RGB of uint8 or uint16; transparent pixels show `background`. Raises Unreadable."""
    try:
        samples = _decode_16_bit(data) if header.bit_depth == 16 else _decode_8_bit(data)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError...; imagecodecs PngError
        raise MediaUnreadable(f"the PNG is damaged: {error}") from error
    if samples.shape[:2] != (header.height, header.width):
        raise MediaUnreadable("the PNG is not the size its header says")
    return composite_over(samples, background) if samples.ndim == 3 and samples.shape[2] in (2, 4) else samples


def _decode_16_bit(data: bytes) -> Samples:
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(data))


def _decode_8_bit(data: bytes) -> Samples:
    """Palettes, 1 to 4-bit gray, alpha and transparent colours."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if "transparency" in image.info or image.mode in ("LA", "RGBA"):
            return np.asarray(image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA"))
        return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))

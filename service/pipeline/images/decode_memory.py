"""How much memory decoding an image takes at its peak, told by its header.

What decoders and conversions hold at once is counted in bytes a pixel; the tests compare that with measured peaks.
"""

from typing import Any

import numpy as np

from service.pipeline.images.colour_conversion import ColourConversion
from service.pipeline.images.header import DecodeOptions, ImageHeader
from service.pipeline.images.jpeg import jpeg_layout
from service.pipeline.memory_limit import fits
from service.pipeline.picture import BAND_PIXELS
from service.plan.formats import rgb

# Where so much is free, no image has to be looked at more closely.
_MOST_PER_PIXEL, _MOST_ONCE = 100, 256 << 20
# Tables, rows, and what the allocator rounds up.
_SLACK = 16 << 20
# For each pixel of a band that is blended with the background: colours, alpha and their products in float64.
_BLENDING = 104
# An array becomes a frame by way of a copy. Signed, 32-bit and float samples become two bytes, and one is for counting.
_AS_FRAME, _AS_POSITIONS = 3, 3
# HDR is converted through wider samples, and by a table of colours that is made once.
_HDR_8_BIT, _HDR_16_BIT, _HDR_TABLE = 50, 20, 72 << 20
# Of what Pillow decodes: it holds colours in four bytes, twice while it converts them; then come the arrays of NumPy.
_PILLOW_ALPHA, _PILLOW_GRAY_ALPHA, _PILLOW_PALETTE, _PILLOW_GRAY = 16, 12, 12, 4
_JPEG_PLANES = {"gray": 1.0, "yuvj420p": 1.5, "yuvj422p": 2.0}
# A progressive JPEG keeps the coefficients of its samples, of two bytes each, until its last scan.
_PROGRESSIVE = 3
# libwebp and its result.
_WEBP = 8
# Photometric interpretations of TIFF. The indexes of a palette are widened.
_GRAYS, _PALETTE, _PALETTE_INDEX = (0, 1), 3, 2
_UNCOMPRESSED = 1


def surely_fits(pixels: int) -> bool:
    """Whether any image of so many pixels can be decoded now, so that its memory need not be estimated."""
    return fits(_MOST_PER_PIXEL * pixels + _MOST_ONCE)


def image_memory(data: bytes, header: ImageHeader, options: DecodeOptions, conversion: ColourConversion) -> int:
    """Bytes at the peak of decoding a JPEG, PNG or WebP, beside `data` itself."""
    pixels, depth = header.width * header.height, 2 if header.bit_depth == 16 else 1
    colours = 1 if header.channels <= 2 else 3
    converting, once = _conversion_memory(conversion, colours, depth)
    once += len(data) + _SLACK
    if header.plain:
        copies = _AS_FRAME * colours if conversion.profile else converting
        return int(pixels * (_ffmpeg_bytes(data, header) + copies)) + once
    stored = 4 if header.format == "webp" else header.channels * depth
    if header.see_through:
        converting += stored if converting else 0
        once += _BLENDING * min(pixels, BAND_PIXELS)
    arrays = max(stored + converting, _frame_bytes(header.channels, depth, options))
    return pixels * max(arrays, _decoder_bytes(header)) + once


def page_memory(page: Any, options: DecodeOptions, conversion: ColourConversion, *, is_view: bool) -> int:
    """Bytes at the peak of decoding a tifffile.TiffPage; `is_view`: its samples are used where they lie in the file."""
    pixels, depth = page.imagewidth * page.imagelength, page.dtype.itemsize
    is_palette, stored = int(page.photometric) == _PALETTE, 0 if is_view else -(-page.nbytes // pixels)
    depth = 1 if is_palette else depth
    colours = 1 if int(page.photometric) in _GRAYS else 3
    converting, once = _conversion_memory(conversion, colours, depth)
    once += _SLACK
    if int(page.compression) != _UNCOMPRESSED:
        once += 2 * sum(page.databytecounts) + int(np.prod(page.chunks)) * page.dtype.itemsize
    has_alpha = not is_palette and page.samplesperpixel > colours
    if has_alpha:
        converting += 2 * page.samplesperpixel * depth if converting else 0
        once += _BLENDING * min(pixels, BAND_PIXELS)
    if page.dtype.kind in "if" or depth > 2:
        arrays = stored + converting + (_AS_POSITIONS * colours if options.window else 0)
    else:
        arrays = max(stored + converting, _frame_bytes(colours + has_alpha, depth, options))
    return int(pixels * (arrays + _PALETTE_INDEX * is_palette)) + once


def _conversion_memory(conversion: ColourConversion, colours: int, depth: int) -> tuple[int, int]:
    """(bytes a pixel, bytes once) of converting samples: through a copy of them, as a profile does."""
    if conversion.hdr is not None:
        return _HDR_8_BIT if depth == 1 else _HDR_16_BIT, _HDR_TABLE
    return (2 * colours * depth if conversion.profile else 0), 0


def _frame_bytes(channels: int, depth: int, options: DecodeOptions) -> int:
    """Bytes a pixel of unsigned samples of 1 gray, 2 gray with alpha, 3 or 4 channels, and of the frame of them."""
    if channels == 1 and depth == 2 and options.window is not None:
        return 0  # the samples themselves are the frame
    is_gray = channels == 1 or (channels == 2 and len(set(rgb(options.background))) == 1)
    return _AS_FRAME * depth * (1 if is_gray else 3)


def _ffmpeg_bytes(data: bytes, header: ImageHeader) -> float:
    """Bytes a pixel of what FFmpeg decodes."""
    if header.format == "png":
        return float(header.channels)
    if header.format == "webp":
        return _JPEG_PLANES["yuvj420p"]
    layout = jpeg_layout(data)
    planes = _JPEG_PLANES.get(layout.pixel_format, 3.0)
    return planes * (_PROGRESSIVE if layout.progressive else 1) * (2 if layout.ambiguous else 1)


def _decoder_bytes(header: ImageHeader) -> int:
    """Bytes a pixel at the peak of the other decoders, their result included."""
    if header.format == "webp":
        return _WEBP
    if header.bit_depth == 16:
        return 2 * header.channels
    return {1: _PILLOW_GRAY, 2: _PILLOW_GRAY_ALPHA, 3: _PILLOW_PALETTE, 4: _PILLOW_ALPHA}[header.channels]

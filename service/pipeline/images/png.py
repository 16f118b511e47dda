"""Reads PNG headers, and decodes the PNGs that FFmpeg does not handle: 16-bit, palette, alpha."""

import io
import struct
import warnings

import numpy as np
from PIL import Image

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.chunk_exif import png_chunks, png_exif
from service.pipeline.images.colour_conversion import ColourConversion
from service.pipeline.images.header import PNG_MAGIC, HeaderIncomplete, ImageHeader, damaged, require_few_parts
from service.pipeline.images.png_colour import COLOUR_CHUNKS, png_colour
from service.pipeline.picture import Samples, composite_over

# Colour type -> bit depths (PNG 3, table 12).
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME")
_PACKED_TEXT = (b"zTXt", b"iTXt")
_LENGTH_AND_NAME, _CHECKSUM = 8, 4
Image.MAX_IMAGE_PIXELS = None  # checked on the header before anything is decoded


def decode_png(data: bytes, header: ImageHeader, background: str, conversion: ColourConversion) -> Samples:
    """(height, width) gray or (height, width, 3) sRGB of uint8 or uint16; transparent pixels show `background`.

    Raises MediaUnreadable.
    """
    try:
        samples = _decode_16_bit(data) if header.bit_depth == 16 else _decode_8_bit(data, header.bit_depth)
    except (MediaUnreadable, MemoryError):
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError...
        raise damaged("PNG", error) from error
    if samples.shape[:2] != (header.height, header.width):
        raise MediaUnreadable("the PNG is not the size its header says")
    samples = conversion.apply(samples)
    return composite_over(samples, background) if samples.ndim == 3 and samples.shape[2] in (2, 4) else samples


def _decode_16_bit(data: bytes) -> Samples:
    import imagecodecs

    try:
        return np.asarray(imagecodecs.png_decode(data))
    except MemoryError:
        raise
    except Exception as error:  # its text may be memory that was never written
        raise MediaUnreadable("the PNG is damaged: libpng cannot decode it") from error


def _decode_8_bit(data: bytes, bit_depth: int) -> Samples:
    """Palettes, 1 to 4-bit gray, alpha and transparent colours."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        _scale_transparent_level(image, bit_depth)
        if "transparency" in image.info or image.mode in ("LA", "RGBA"):
            return np.asarray(image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA"))
        return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def _scale_transparent_level(image: Image.Image, bit_depth: int) -> None:
    """Express the transparent level or colour in 8 bits, as Pillow does the samples.

    tRNS has it at the depth of the image, in the low bits of two bytes (PNG 3, 11.3.2.1).
    """
    levels, value = (1 << bit_depth) - 1, image.info.get("transparency")
    if image.mode == "L" and isinstance(value, int):
        image.info["transparency"] = (value & levels) * 255 // levels
    elif image.mode == "RGB" and isinstance(value, tuple):
        image.info["transparency"] = tuple(channel & levels for channel in value)


def png_header(data: bytes) -> ImageHeader:
    """Read IHDR, and EXIF wherever it lies in `data`. Raises HeaderIncomplete, MediaUnreadable."""
    if len(data) < 33:
        raise HeaderIncomplete("the PNG header is cut short")
    if data[12:16] != b"IHDR":
        raise MediaUnreadable("the PNG does not begin with its header")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if not width or not height:
        raise MediaUnreadable("the PNG does not give its size")
    if depth not in _DEPTHS.get(colour, ()):
        raise MediaUnreadable("the PNG header is damaged: its bit depth and colour type do not go together")
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[colour]
    chunks = _png_chunks(data)
    clear = any(kind == b"tRNS" for kind, _, _ in chunks)
    exif = png_exif(data)
    plain = colour in (0, 2) and depth == 8 and not clear
    channels += clear and colour in (0, 2)  # one level or colour is transparent
    said = png_colour({kind: data[start:stop] for kind, start, stop in chunks})
    bits, see_through = 8 if colour == 3 else depth, clear or colour in (4, 6)
    return ImageHeader("png", width, height, bits, channels, exif, plain=plain, see_through=see_through, colour=said)


def without_colour_chunks(data: bytes) -> bytes:
    """The PNG without what it says of its colours, if a decoder could stumble over it.

    Decoders unpack profiles without a limit, and refuse a picture for a damaged one.
    """
    chunks = _png_chunks(data)
    if all(stop - start == COLOUR_CHUNKS.get(kind, stop - start) for kind, start, stop in chunks):
        return data
    pieces, copied = [], 0
    for kind, start, stop in chunks:
        if kind in COLOUR_CHUNKS:
            pieces.append(data[copied : start - 8])
            copied = stop + 4
    return b"".join([*pieces, data[copied:]])


def without_packed_text(data: bytes) -> bytes:
    """The PNG without metadata, if it has compressed text: FFmpeg and libpng unpack that, a gigabyte of it too."""
    return png_without_metadata(data) if any(name in data for name in _PACKED_TEXT) else data


def png_without_metadata(data: bytes) -> bytes:
    """The same file without EXIF and text, which do not change the picture."""
    kept = [data[: len(PNG_MAGIC)]]
    for name, start, stop in png_chunks(data):
        if name not in _METADATA:
            kept.append(data[start - _LENGTH_AND_NAME : stop + _CHECKSUM])
    return b"".join(kept)


def _png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """(name, offset of its body, offset after it) of each chunk before the image data. Raises HeaderIncomplete."""
    chunks: list[tuple[bytes, int, int]] = []
    position = 8
    while position + 8 <= len(data) and data[position + 4 : position + 8] != b"IDAT":
        require_few_parts(len(chunks), "PNG")
        length = int.from_bytes(data[position : position + 4], "big")
        chunks.append((data[position + 4 : position + 8], position + 8, position + 8 + length))
        position += 12 + length
    if data[position + 4 : position + 8] != b"IDAT":
        raise HeaderIncomplete("the PNG header is cut short")
    return chunks

"""Decodes TIFF pages with tifffile and imagecodecs.

FFmpeg decodes tiled Deflate wrongly and Pillow reduces the bit depth silently. Samples keep their own type; only
1, 2 and 4-bit gray is expanded to 8 bits.
"""

import io
import itertools
import logging
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.colour_conversion import ColourConversion, plan_conversion
from service.pipeline.images.decode_memory import page_memory, surely_fits
from service.pipeline.images.exif import says_adobe_rgb
from service.pipeline.images.header import DecodeOptions, damaged, require_compression_ratio, require_pixel_limit
from service.pipeline.images.stored_colour import (
    ADOBE_RGB,
    MAX_PROFILE_BYTES,
    TOO_LARGE,
    UNSTATED,
    StoredColour,
    profile_colour,
)
from service.pipeline.images.tiff_directory import (
    COMPRESSIONS,
    FAX_COMPRESSIONS,
    MAX_SAMPLES,
    require_supported_colours,
)
from service.pipeline.memory_limit import require_memory
from service.pipeline.picture import DecodedSamples, Samples, composite_over, map_bands

# Size, bits, compression, photometric, fill order, samples, rows, planes, fax options, predictor, tile size, alpha,
# sample format.
_COPIED_TAGS = (256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 338, 339)
_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 324, 325
_SHORT, _LONG = 3, 4
_UNCOMPRESSED, _LZW, _JPEG, _PACKBITS = 1, 5, 7, 32773
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_SEPARATE, _ASSOCIATED, _ORIENTATION, _COLORMAP, _PHOTOMETRIC, _MAX_CHUNKS = 2, 1, 274, 320, 262, 65_536
_ICC_PROFILE, _EXIF, _MAX_INTEROPERABILITY_FIELDS = 34675, 34665, 5
# imagecodecs 2026.3's own decoders of these crash the process on damaged data; its libtiff reports an error.
_LIBTIFF_COMPRESSIONS = (_LZW, _PACKBITS, *FAX_COMPRESSIONS)


def decode_tiff(data: bytes, options: DecodeOptions) -> DecodedSamples:
    """The first page. Raises MediaUnreadable."""
    # Closed explicitly: tifffile's reference cycles would keep the file alive.
    with translate_tiff_errors(), io.BytesIO(data) as file:
        return _decode(_open(file).pages[0], options, data)


def decode_tiff_page(tiff: Any, offset: int, options: DecodeOptions) -> DecodedSamples:
    """The page of an open tifffile.TiffFile whose directory is at byte `offset`. Raises MediaUnreadable."""
    import tifffile

    with translate_tiff_errors():
        tiff.filehandle.seek(offset)
        return _decode(tifffile.TiffPage(tiff, 0), options)


def open_tiff(file: BinaryIO) -> Any:
    """A tifffile.TiffFile (which has no type annotations). Raises MediaUnreadable."""
    with translate_tiff_errors():
        return _open(file)


@contextmanager
def translate_tiff_errors() -> Iterator[None]:
    """Raise MediaUnreadable for any error: damage can fail any line of tifffile, and each codec has its own class."""
    try:
        yield
    except (MediaUnreadable, OSError, MemoryError):
        raise
    except Exception as error:
        raise damaged("TIFF", error) from error


def _open(file: BinaryIO) -> Any:
    import tifffile  # 200 ms and 30 MB that slots without TIFF frames need not pay

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile.TiffFile(file)


def _decode(page: Any, options: DecodeOptions, data: bytes = b"") -> DecodedSamples:
    require_pixel_limit(page.imagewidth, page.imagelength, options.max_pixels)
    _require_supported(page)
    _require_complete(page, options.max_pixels)
    tag = page.tags.get(_ORIENTATION)
    orientation = int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1
    conversion = _plan_conversion(page, options)
    if not surely_fits(page.imagewidth * page.imagelength):
        is_view = bool(data) and _is_uncompressed(page)
        require_memory("decoding it", page_memory(page, options, conversion, is_view=is_view))
    samples = _to_gray_or_rgb(_read_samples(page, data), page, options.background, conversion)
    size = (page.imagelength, page.imagewidth)
    if samples.shape not in (size, (*size, 3)) or not samples.size:
        raise MediaUnreadable("the TIFF is damaged: its fields contradict each other")
    return DecodedSamples(samples, orientation, conversion.words)


def _plan_conversion(page: Any, options: DecodeOptions) -> ColourConversion:
    colour = _stored_colour(page)
    if colour is UNSTATED:
        return plan_conversion(colour, 1)
    gray = page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    samples = page.dtype.name if page.bitspersample == 8 * page.dtype.itemsize else f"{page.bitspersample}-bit"
    if page.bitspersample < 8 or page.photometric == _PALETTE:
        samples = "uint8"
    return plan_conversion(colour, 1 if gray else 3, samples, keep=options.keep_colours)


def _stored_colour(page: Any) -> StoredColour:
    """The page's profile, or else what its EXIF says."""
    tag, exif = page.tags.get(_ICC_PROFILE), page.tags.get(_EXIF)
    if tag is not None:
        if tag.count > MAX_PROFILE_BYTES:
            return TOO_LARGE
        return profile_colour(bytes(tag.value) if isinstance(tag.value, bytes | tuple) else b"")
    fields = exif.value if exif is not None and isinstance(exif.value, dict) else {}
    index = _interoperability_index(page.parent.filehandle, fields.get("InteroperabilityTag"))
    return ADOBE_RGB if says_adobe_rgb(fields.get("ColorSpace"), index) else UNSTATED


def _interoperability_index(file: Any, offset: object) -> str:
    """The text of four bytes of a directory (EXIF 3.0, 4.6.7) that tifffile does not read; empty without one."""
    if not isinstance(offset, int) or not 0 < offset < file.size:
        return ""
    file.seek(offset)
    start = file.read(2 + 12 * _MAX_INTEROPERABILITY_FIELDS)
    return "R03" if b"R03\0" in start else ""


def _read_samples(page: Any, data: bytes) -> Samples:
    """(separate samples, depth, height, width, samples): a view of `data`, the whole file, if it is not compressed."""
    if data and _is_uncompressed(page):
        samples = np.frombuffer(data, page.dtype, int(np.prod(page.shaped)), page.dataoffsets[0])
    elif page.compression in _LIBTIFF_COMPRESSIONS:
        import imagecodecs

        samples = np.asarray(imagecodecs.tiff_decode(_single_page_tiff(page), index=0))
    else:
        samples = np.asarray(page.asarray(maxworkers=1, squeeze=False))
    return samples.reshape(page.shaped)


def _is_uncompressed(page: Any) -> bool:
    """Whether the file holds the samples in the layout that NumPy has in memory."""
    native = page.parent.byteorder == {"little": "<", "big": ">"}[sys.byteorder]
    plain = page.compression == _UNCOMPRESSED and page.predictor == 1 and page.fillorder == 1
    return native and plain and bool(page.is_contiguous) and page.bitspersample == 8 * page.dtype.itemsize


def _require_supported(page: Any) -> None:
    if isinstance(page.bitspersample, tuple):
        raise MediaUnreadable("a TIFF whose channels have different bit depths is not supported")
    if page.dtype is None or page.dtype.kind not in "buif":
        kind = f" {page.dtype}" if page.dtype is not None else ""
        raise MediaUnreadable(f"a TIFF of {page.bitspersample}-bit{kind} samples is not supported")
    if page.compression not in COMPRESSIONS:
        raise MediaUnreadable(f"a TIFF compressed by method {int(page.compression)} is not supported")
    require_supported_colours(int(page.photometric))
    kinds = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, *([_YCBCR] if page.compression == _JPEG else []))
    least = 3 if page.photometric in (_RGB, _YCBCR) else 1
    if not least <= page.samplesperpixel <= MAX_SAMPLES or page.imagedepth != 1 or page.photometric not in kinds:
        raise MediaUnreadable(
            f"a TIFF of {page.samplesperpixel} samples, photometric {int(page.photometric)}, is not supported: "
            "save it as gray or RGB"
        )


def _require_complete(page: Any, max_pixels: int) -> None:
    """tifffile silently fills strips and tiles that it cannot find with zeros."""
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    number, size = int(np.prod(page.chunked)), page.parent.filehandle.size
    if len(pieces) < number or any(not count or offset + count > size for offset, count in pieces):
        raise MediaUnreadable("the TIFF ends before its picture data does")
    if number > _MAX_CHUNKS or int(np.prod(page.chunks)) > 4 * max_pixels:
        raise MediaUnreadable("the TIFF is cut into pieces that make no sense")
    require_compression_ratio(page.nbytes, sum(page.databytecounts))


def _to_gray_or_rgb(array: Samples, page: Any, background: str, conversion: ColourConversion) -> Samples:
    """(separate samples, depth, height, width, samples) -> (height, width) gray or (height, width, 3) RGB, black 0."""
    array = np.moveaxis(array[:, 0], 0, -1)[..., 0, :] if page.planarconfig == _SEPARATE else array[0, 0]
    if page.photometric == _PALETTE:
        return conversion.apply(_apply_palette(array[..., 0], page))
    array = _expand_to_8_bit(array, page)
    if page.photometric == _WHITE_IS_ZERO:
        array = _invert(array, page)
    colours = 1 if page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) else 3
    if array.shape[2] > colours and page.extrasamples and int(page.extrasamples[0]) in (1, 2):
        array, premultiplied = array[..., : colours + 1], int(page.extrasamples[0]) == _ASSOCIATED
        if premultiplied and conversion.is_needed:
            array, premultiplied = _divide_by_alpha(array), False
        return composite_over(conversion.apply(array), background, premultiplied=premultiplied)
    return conversion.apply(np.ascontiguousarray(array[..., 0] if colours == 1 else array[..., :3]))


def _divide_by_alpha(array: Samples) -> Samples:
    """Straight colours of premultiplied ones, unsigned: a profile describes colours, not their products with alpha."""
    top = np.iinfo(array.dtype).max

    def divide(band: Samples) -> Samples:
        straight = band[..., :-1].astype(np.float64) * top / np.maximum(band[..., -1:], 1)
        return np.concatenate([np.rint(straight).clip(0, top), band[..., -1:]], axis=-1)

    return map_bands(divide, array, array.shape[2])


def _apply_palette(indexes: Samples, page: Any) -> Samples:
    """(height, width, 3) of uint8: the high bytes of the palette, which most writers fill from 8-bit colours.

    A palette without any value above 255 was written in 8 bits, as libtiff assumes too.
    """
    table = np.asarray(page.tags[_COLORMAP].value).reshape(3, -1)
    levels = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(levels[:, indexes.astype(np.uint16)], 0, -1))


def _expand_to_8_bit(array: Samples, page: Any) -> Samples:
    """Spread 1, 2 and 4-bit samples over the 8-bit range."""
    if page.bitspersample >= 8:
        return array
    return array.astype(np.uint8) * np.uint8(255 // ((1 << page.bitspersample) - 1))


def _invert(array: Samples, page: Any) -> Samples:
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):
            inverted: Samples = 1 - array
        return inverted
    white: Samples = array.dtype.type((1 << max(page.bitspersample, 8)) - 1) - array
    return white


def _single_page_tiff(page: Any) -> bytes:
    """A classic TIFF with only this tifffile.TiffPage, in the file's byte order; strips or tiles are copied."""
    file, order = page.parent.filehandle, page.parent.byteorder
    pieces = []
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        pieces.append(file.read(count))
    values = {tag: page.tags[tag].value for tag in _COPIED_TAGS if tag in page.tags}
    fields = {tag: [*map(int, value)] if isinstance(value, tuple) else [int(value)] for tag, value in values.items()}
    if page.photometric == _PALETTE:
        fields[_PHOTOMETRIC] = [_BLACK_IS_ZERO]  # the indexes are wanted, and libtiff would look for the palette
    sizes = [len(piece) for piece in pieces]
    fields[_TILE_OFFSETS if page.is_tiled else _OFFSETS] = [*itertools.accumulate(sizes[:-1], initial=8)]
    fields[_TILE_COUNTS if page.is_tiled else _COUNTS] = sizes
    end = 8 + sum(sizes)
    directory = end + end % 2
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, directory)
    return head + b"".join(pieces) + bytes(directory - end) + _encode_directory(fields, directory, order)


def _encode_directory(fields: dict[int, list[int]], start: int, order: str) -> bytes:
    """An IFD at offset `start` (TIFF 6.0, section 2), followed by the values that do not fit into its entries."""
    entries, overflow = b"", b""
    after = start + 2 + 12 * len(fields) + 4
    for tag in sorted(fields):
        kind = _LONG if max(fields[tag]) > 0xFFFF or tag in (_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS) else _SHORT
        values = struct.pack(f"{order}{len(fields[tag])}{'I' if kind == _LONG else 'H'}", *fields[tag])
        if len(values) > 4:
            place = struct.pack(order + "I", after + len(overflow))
            overflow += values
        else:
            place = values.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(fields[tag])) + place
    return struct.pack(order + "H", len(fields)) + entries + bytes(4) + overflow

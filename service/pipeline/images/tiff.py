"""Decodes TIFF pages with tifffile and imagecodecs.

FFmpeg decodes tiled Deflate wrongly and Pillow reduces the bit depth silently. Samples keep their own type; only
1, 2 and 4-bit gray is expanded to 8 bits.
"""

import io
import logging
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from service.pipeline.frames import MediaUnreadable
from service.pipeline.images.header import require_compression_ratio, require_pixel_limit
from service.pipeline.picture import Samples, composite_over

# Size, bits, compression, photometric, samples, rows per strip, planes, predictor, tile size, alpha, sample format.
_COPIED_TAGS = (256, 257, 258, 259, 262, 277, 278, 284, 317, 322, 323, 338, 339)

_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS, _FILL_ORDER = 273, 279, 324, 325, 266
_SHORT, _LONG = 3, 4


def single_page_tiff(page: Any) -> bytes:
    """A little or big-endian classic TIFF with the page's pieces in order; `page` is a tifffile.TiffPage."""
    file, order = page.parent.filehandle, page.parent.byteorder
    pieces = []
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        pieces.append(file.read(count))
    fields = {tag: _tag_values(page, tag) for tag in (*_COPIED_TAGS, _FILL_ORDER) if tag in page.tags}
    places, offset = [], 8
    for piece in pieces:
        places.append(offset)
        offset += len(piece)
    tiled = page.is_tiled
    fields[_TILE_OFFSETS if tiled else _OFFSETS] = places
    fields[_TILE_COUNTS if tiled else _COUNTS] = [len(piece) for piece in pieces]
    start = offset + offset % 2
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    return head + b"".join(pieces) + bytes(start - offset) + _encode_directory(fields, start, order)


def _tag_values(page: Any, tag: int) -> list[int]:
    value = page.tags[tag].value
    return [int(one) for one in value] if isinstance(value, tuple) else [int(value)]


def _encode_directory(fields: dict[int, list[int]], start: int, order: str) -> bytes:
    entries, beyond = b"", b""
    after = start + 2 + 12 * len(fields) + 4
    for tag in sorted(fields):
        kind = _LONG if max(fields[tag]) > 0xFFFF or tag in (_OFFSETS, _COUNTS, _TILE_OFFSETS, _TILE_COUNTS) else _SHORT
        values = struct.pack(f"{order}{len(fields[tag])}{'I' if kind == _LONG else 'H'}", *fields[tag])
        if len(values) > 4:
            place = struct.pack(order + "I", after + len(beyond))
            beyond += values
        else:
            place = values.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(fields[tag])) + place
    return struct.pack(order + "H", len(fields)) + entries + bytes(4) + beyond


_UNCOMPRESSED, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD = 1, 5, 7, 8, 32773, 32946, 34925, 50000
_COMPRESSIONS = (_UNCOMPRESSED, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD)
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_SEPARATE, _ASSOCIATED, _ORIENTATION, _COLORMAP, _MAX_CHUNKS = 2, 1, 274, 320, 65_536
# imagecodecs 2026.3's own decoder of these crashes the process on damaged data; libtiff, also in it, says so.
_LIBTIFF_COMPRESSIONS = (_LZW, _PACKBITS)


@dataclass(frozen=True, slots=True)
class TiffPage:
    """Decoded samples, (height, width) or (height, width, 3), as stored, before `orientation` (EXIF)."""

    samples: Samples
    orientation: int


def decode_tiff(data: bytes, max_pixels: int, background: str) -> TiffPage:
    """The first page; transparent pixels show `background`. Raises Unreadable."""
    with (
        translate_tiff_errors(),
        io.BytesIO(data) as file,
    ):  # closed, for tifffile's reference cycles keep it from being freed
        return _decode(_open(file).pages[0], (max_pixels, background), data)


def decode_tiff_page(tiff: Any, offset: int, bounds: tuple[int, str]) -> TiffPage:
    """The page whose directory is at `offset` of an open tifffile.TiffFile; `bounds` is (max_pixels, background)."""
    import tifffile

    with translate_tiff_errors():
        tiff.filehandle.seek(offset)
        return _decode(tifffile.TiffPage(tiff, 0), bounds)


def open_tiff(file: BinaryIO) -> Any:
    """A tifffile.TiffFile, whose types are unknown. Raises Unreadable."""
    with translate_tiff_errors():
        return _open(file)


@contextmanager
def translate_tiff_errors() -> Iterator[None]:
    """A damaged directory reaches any line of tifffile, and each codec raises its own class."""
    try:
        yield
    except (MediaUnreadable, OSError, MemoryError):
        raise
    except Exception as error:
        raise MediaUnreadable(f"the TIFF is damaged: {error}") from error


def _open(file: BinaryIO) -> Any:
    import tifffile  # 200 ms and 30 MB that a slot without TIFF frames does not pay

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile.TiffFile(file)


def _decode(page: Any, bounds: tuple[int, str], data: bytes = b"") -> TiffPage:
    require_pixel_limit(page.imagewidth, page.imagelength, bounds[0])
    _require_supported(page)
    _require_complete(page, bounds[0])
    samples = _view_samples(page, data) if data and _is_uncompressed(page) else _read_samples(page)
    turn = page.tags.get(_ORIENTATION)
    orientation = int(turn.value) if turn is not None and 1 <= int(turn.value) <= 8 else 1
    shown = _to_gray_or_rgb(samples, page, bounds[1])
    if (
        shown.shape not in ((page.imagelength, page.imagewidth), (page.imagelength, page.imagewidth, 3))
        or not shown.size
    ):
        raise MediaUnreadable("the TIFF is damaged: its fields contradict each other")
    return TiffPage(shown, orientation)


def _is_uncompressed(page: Any) -> bool:
    """Whether the file holds the samples as memory would."""
    native = page.parent.byteorder == {"little": "<", "big": ">"}[sys.byteorder]
    plain = page.compression == _UNCOMPRESSED and page.predictor == 1 and page.fillorder == 1
    return native and plain and bool(page.is_contiguous) and page.bitspersample == 8 * page.dtype.itemsize


def _view_samples(page: Any, data: bytes) -> Samples:
    """A view of the file: nothing is copied."""
    return np.frombuffer(data, page.dtype, int(np.prod(page.shaped)), page.dataoffsets[0]).reshape(page.shaped)


def _read_samples(page: Any) -> Samples:
    if page.compression not in _LIBTIFF_COMPRESSIONS:
        return np.asarray(page.asarray(maxworkers=1, squeeze=False)).reshape(page.shaped)
    import imagecodecs

    return np.asarray(imagecodecs.tiff_decode(single_page_tiff(page), index=0)).reshape(page.shaped)


def _require_supported(page: Any) -> None:
    if page.dtype is None or page.dtype.kind not in "buif" or isinstance(page.bitspersample, tuple):
        raise MediaUnreadable(f"a TIFF of {page.bitspersample}-bit {page.dtype} samples is not supported")
    if page.compression not in _COMPRESSIONS:
        raise MediaUnreadable(f"a TIFF compressed by method {int(page.compression)} is not supported")
    kinds = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, *([_YCBCR] if page.compression == _JPEG else []))
    least = 3 if page.photometric in (_RGB, _YCBCR) else 1
    if not least <= page.samplesperpixel <= 4 or page.imagedepth != 1 or page.photometric not in kinds:
        raise MediaUnreadable(
            f"a TIFF of {page.samplesperpixel} samples, photometric {page.photometric}, is not supported"
        )


def _require_complete(page: Any, max_pixels: int) -> None:
    """tifffile fills pieces it cannot find with zeros, without a word."""
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    number, size = int(np.prod(page.chunked)), page.parent.filehandle.size
    if len(pieces) < number or any(not count or offset + count > size for offset, count in pieces):
        raise MediaUnreadable("the TIFF ends before its picture data does")
    if number > _MAX_CHUNKS or int(np.prod(page.chunks)) > 4 * max_pixels:
        raise MediaUnreadable("the TIFF is cut into pieces that make no sense")
    require_compression_ratio(page.nbytes, sum(page.databytecounts))


def _to_gray_or_rgb(array: Samples, page: Any, background: str) -> Samples:
    """(separate samples, depth, height, width, samples) -> gray or RGB with black at zero."""
    array = np.moveaxis(array[:, 0], 0, -1)[..., 0, :] if page.planarconfig == _SEPARATE else array[0, 0]
    if page.photometric == _PALETTE:
        return _apply_palette(array[..., 0], page)
    array = _expand_to_8_bit(array, page)
    if page.photometric == _WHITE_IS_ZERO:
        array = _invert(array, page)
    colours = 1 if page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) else 3
    if array.shape[2] > colours and page.extrasamples and int(page.extrasamples[0]) in (1, 2):
        return composite_over(
            array[..., : colours + 1], background, premultiplied=int(page.extrasamples[0]) == _ASSOCIATED
        )
    return np.ascontiguousarray(array[..., 0] if colours == 1 else array[..., :3])


def _apply_palette(indexes: Samples, page: Any) -> Samples:
    """The palette's 16-bit colours, which most writers fill from 8-bit ones."""
    table = np.asarray(page.tags[_COLORMAP].value).reshape(3, -1)
    return np.ascontiguousarray(np.moveaxis((table >> 8).astype(np.uint8)[:, indexes], 0, -1))


def _expand_to_8_bit(array: Samples, page: Any) -> Samples:
    """1, 2 and 4-bit samples over the 8-bit range."""
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

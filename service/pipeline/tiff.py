"""8-bit TIFF through tifffile and imagecodecs: FFmpeg decodes tiled-deflate wrongly, Pillow cuts depth silently."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from av import VideoFrame

from service.pipeline.frames import Unreadable
from service.pipeline.image_header import ImageHeader, require_pixels_within
from service.pipeline.picture import Picture

_PIXEL_FORMAT = {1: "gray", 3: "rgb24"}
_UNCOMPRESSED, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD = 1, 5, 7, 8, 32773, 32946, 34925, 50000
_COMPRESSIONS = (_UNCOMPRESSED, _LZW, _JPEG, _DEFLATE, _PACKBITS, _OLD_DEFLATE, _LZMA, _ZSTD)
_WHITE_IS_ZERO, _SEPARATE = 0, 2
_PHOTOMETRIC = (_WHITE_IS_ZERO, 1, 2, 6)  # ..., black is zero, RGB, YCbCr (decoded to RGB by its codec)
_THROUGH_LIBTIFF = (_LZW, _PACKBITS)
"""imagecodecs 2026.3's own decoder of these crashes the process on damaged data; libtiff, also in it, says so."""


def tiff_header(data: bytes) -> ImageHeader:
    """The first page's facts; `data` must hold its whole directory. Raises Unreadable."""
    with _damage_named():
        page = _first_page(data)
        width, height = int(page.imagewidth), int(page.imagelength)
        return ImageHeader("tiff", width, height, int(page.bitspersample), int(page.samplesperpixel))


def decode_tiff(data: bytes, max_pixels: int) -> Picture:
    """Gray or RGB, full range, compressed and tiled in the usual ways. Raises Unreadable."""
    with _damage_named():
        page = _first_page(data)
        require_pixels_within(page.imagewidth, page.imagelength, max_pixels)
        _require_supported(page)
        _require_whole(page, len(data))
        return Picture(_frame(_pixels(data, page), page), "tifffile", _orientation(page))


@contextmanager
def _damage_named() -> Iterator[None]:
    """A damaged directory reaches any line of tifffile, and each codec raises its own class."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"the TIFF is damaged: {error}") from error


def _pixels(data: bytes, page: Any) -> "np.ndarray[Any, Any]":
    if page.compression not in _THROUGH_LIBTIFF:
        return np.asarray(page.asarray(maxworkers=1))
    import imagecodecs

    return np.asarray(imagecodecs.tiff_decode(data, index=0)).reshape(page.shape)


def _first_page(data: bytes) -> Any:  # tifffile's TiffPage; its attributes are untyped
    import tifffile  # 200 ms and 30 MB that a slot without TIFF frames does not pay

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile.TiffFile(io.BytesIO(data)).pages[0]


def _require_supported(page: Any) -> None:
    if page.dtype != np.uint8:
        raise Unreadable(f"a TIFF of {page.bitspersample}-bit {page.dtype} samples is not supported")
    if page.compression not in _COMPRESSIONS:
        raise Unreadable(f"a TIFF compressed by method {int(page.compression)} is not supported")
    if page.samplesperpixel > 4 or page.imagedepth != 1 or page.photometric not in _PHOTOMETRIC:
        raise Unreadable(f"a TIFF of {page.samplesperpixel} samples, photometric {page.photometric}, is not supported")


def _require_whole(page: Any, size: int) -> None:
    """tifffile fills pieces it cannot find with zeros, without a word."""
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if not pieces or any(not count or offset + count > size for offset, count in pieces):
        raise Unreadable("the TIFF ends before its picture data does")


def _frame(array: "np.ndarray[Any, Any]", page: Any) -> VideoFrame:
    if array.ndim == 3 and page.planarconfig == _SEPARATE:
        array = np.moveaxis(array, 0, -1)
    if page.photometric == _WHITE_IS_ZERO:
        array = 255 - array
    if array.ndim == 3:
        array = array[..., 0] if array.shape[2] < 3 else array[..., :3]
    channels = 1 if array.ndim == 2 else 3
    return VideoFrame.from_ndarray(np.ascontiguousarray(array), format=_PIXEL_FORMAT[channels])


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1

"""8-bit TIFF through tifffile and imagecodecs: FFmpeg decodes tiled-deflate wrongly, Pillow cuts depth silently."""

import io
import logging
from typing import Any

import numpy as np
from av import VideoFrame

from service.pipeline.frames import Unreadable
from service.pipeline.image_header import ImageHeader, require_pixels_within
from service.pipeline.picture import Picture

_PIXEL_FORMAT = {1: "gray", 3: "rgb24"}


def tiff_header(data: bytes) -> ImageHeader:
    """The first page's facts; `data` must hold its whole directory. Raises Unreadable."""
    page = _first_page(data)
    return ImageHeader("tiff", page.imagewidth, page.imagelength, page.bitspersample, page.samplesperpixel)


def decode_tiff(data: bytes, max_pixels: int) -> Picture:
    """Gray or RGB, full range, any compression and tiling imagecodecs knows. Raises Unreadable."""
    page = _first_page(data)
    require_pixels_within(page.imagewidth, page.imagelength, max_pixels)
    _require_supported(page)
    _require_whole(page, len(data))
    try:
        array = page.asarray(maxworkers=1)
    except Exception as error:  # each of imagecodecs' forty codecs raises its own class
        raise Unreadable(f"the TIFF cannot be decoded: {error}") from error
    return Picture(_frame(array, page), "tifffile", _orientation(page))


def _first_page(data: bytes) -> Any:  # tifffile's TiffPage; its attributes are untyped
    import tifffile  # 200 ms and 30 MB that a slot without TIFF frames does not pay

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        return tifffile.TiffFile(io.BytesIO(data)).pages[0]
    except Exception as error:
        raise Unreadable(f"the TIFF directory cannot be read: {error}") from error


def _require_supported(page: Any) -> None:
    if page.dtype != np.uint8:
        raise Unreadable(f"a TIFF of {page.bitspersample}-bit {page.dtype} samples is not supported")
    if page.imagedepth != 1 or page.photometric.name not in ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR"):
        raise Unreadable(f"a TIFF with {page.photometric.name} pixels is not supported")


def _require_whole(page: Any, size: int) -> None:
    """tifffile fills pieces it cannot find with zeros, without a word."""
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if not pieces or any(not count or offset + count > size for offset, count in pieces):
        raise Unreadable("the TIFF ends before its picture data does")


def _frame(array: "np.ndarray[Any, Any]", page: Any) -> VideoFrame:
    if array.ndim == 3 and page.planarconfig.name == "SEPARATE":
        array = np.moveaxis(array, 0, -1)
    if page.photometric.name == "MINISWHITE":
        array = 255 - array
    if array.ndim == 3:
        array = array[..., 0] if array.shape[2] < 3 else array[..., :3]
    channels = 1 if array.ndim == 2 else 3
    return VideoFrame.from_ndarray(np.ascontiguousarray(array), format=_PIXEL_FORMAT[channels])


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and 1 <= int(tag.value) <= 8 else 1

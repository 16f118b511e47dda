"""Frames of a JPEG form -> baseline JPEGs by libjpeg-turbo, which knows gray and takes YCbCr as it is."""

from typing import Any

import numpy as np
from av import VideoFrame

from service.pipeline import planes

_SUBSAMPLING = {"yuv420p": (2, 2, "420"), "yuv422p": (1, 2, "422"), "yuv444p": (1, 1, "444")}
"""Rows and columns of luma per chroma sample, and libjpeg's name."""


def encode_jpeg(frame: VideoFrame, quality: int) -> bytes:
    """`frame` is gray or full-range YCbCr of 8 bits; `quality` is libjpeg's, 1 to 100."""
    import imagecodecs  # 30 MB that only MJPEG and TIFF pay

    name = frame.format.name.replace("yuvj", "yuv")
    if name == "gray":
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(planes.plane_views(frame)[0]), level=quality))
    rows, columns, subsampling = _SUBSAMPLING[name]
    return bytes(
        imagecodecs.jpeg8_encode(
            _interleave(frame, rows, columns),
            level=quality,
            colorspace="YCBCR",
            outcolorspace="YCBCR",
            subsampling=subsampling,
        )
    )


def _interleave(frame: VideoFrame, rows: int, columns: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """(height, width, 3); each chroma sample is repeated, so that libjpeg's averaging gives it back."""
    pixels = np.empty((frame.height, frame.width, 3), np.uint8)
    luma, *chroma = planes.plane_views(frame)
    pixels[..., 0] = luma
    for channel, samples in enumerate(chroma, 1):
        full = samples.repeat(rows, axis=0).repeat(columns, axis=1)
        pixels[..., channel] = full[: frame.height, : frame.width]
    return pixels

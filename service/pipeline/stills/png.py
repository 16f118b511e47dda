"""A frame that an encoder is given, or that a decoder returns, as a PNG: every pixel, in RGB or gray."""

import io
from typing import Any

import av
import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from service.pipeline.colour import FULL_RANGE, SWSCALE_MATRICES, swscale_matrix
from service.pipeline.planes import relabel
from service.pipeline.transform.colour_conversion import ColourConverter
from service.plan.colour import JPEG_COLOUR, Colour

# Of 0 to 9: higher ones take twice as long for 3 % fewer bytes.
COMPRESSION_LEVEL = 1
# Chroma of every pixel, interpolated as players do, and exact rounding: the fast paths of swscale repeat chroma.
_EXACT = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)


def frame_png(frame: VideoFrame, colour: Colour, sample_range: int) -> bytes:
    """PNG of 8 bits, or of 16 for deeper frames. `colour` and `sample_range` are what its samples mean.

    HDR is shown as SDR, as in all stills; the primaries of SDR stay as they are, as in a decoder's RGB.
    """
    import imagecodecs  # 30 MB that only PNG, MJPEG and TIFF need

    return bytes(imagecodecs.png_encode(_to_pixels(frame, colour, sample_range), level=COMPRESSION_LEVEL))


def decode_jpeg(data: bytes) -> VideoFrame:
    """The frame that a player decodes of a JPEG that was copied into a video."""
    with av.open(io.BytesIO(data), "r", format="jpeg_pipe") as container:
        return next(container.decode(video=0))


def _to_pixels(frame: VideoFrame, colour: Colour, sample_range: int) -> NDArray[Any]:
    """(height, width) of gray or (height, width, 3) of RGB, of uint8 or uint16."""
    if frame.format.name in ("gray", "gray16le"):
        return np.ascontiguousarray(frame.to_ndarray())
    converter = ColourConverter(JPEG_COLOUR)
    if not frame.format.is_rgb and (colour.is_hdr or colour.matrix not in SWSCALE_MATRICES):
        frame, sample_range = converter.apply(frame, colour, (frame.width, frame.height)), FULL_RANGE
        return _reformat(frame, colour, sample_range, "rgb24")
    if frame.format.name == "gbrp16le":
        return np.ascontiguousarray(frame.to_ndarray())
    deep = frame.format.components[0].bits > 8
    return _reformat(frame, colour, sample_range, "rgb48le" if deep else "rgb24")


def _reformat(frame: VideoFrame, colour: Colour, sample_range: int, pixel_format: str) -> NDArray[Any]:
    """As if chroma had no place of its own: a frame names that before it is encoded, and not every file names it."""
    matrix = colour.matrix if colour.matrix in SWSCALE_MATRICES else JPEG_COLOUR.matrix
    converted = VideoReformatter().reformat(
        relabel(frame, frame.format.name),
        format=pixel_format,
        src_colorspace=swscale_matrix(matrix),
        interpolation=_EXACT,
        src_color_range=sample_range,
        dst_color_range=FULL_RANGE,
        threads=1,
    )
    return np.ascontiguousarray(converted.to_ndarray())

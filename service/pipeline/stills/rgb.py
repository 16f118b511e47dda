"""Turns encoded or decoded output frames into RGB pixels for still images; HDR and other primaries become sRGB."""

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from service.pipeline.colour import FULL_RANGE, SWSCALE_MATRICES, swscale_matrix, video_range
from service.pipeline.transform.colour_conversion import ColourConverter
from service.plan.colour import JPEG_COLOUR, Colour

Pixels = NDArray[np.uint8]


class StillConverter:
    """For frames of one render; `colour` is what its frames are tagged with."""

    def __init__(self, colour: Colour) -> None:
        self._colour = colour
        self._converter = ColourConverter(JPEG_COLOUR)
        self._reformatter = VideoReformatter()

    def to_rgb(self, frame: VideoFrame, width: int, height: int) -> Pixels:
        """(height, width, 3) of uint8; shrunk by averaging areas."""
        source_range = video_range(frame)
        if self._converter.applies_to(self._colour):
            frame, source_range = self._converter.apply(frame, self._colour, (width, height)), FULL_RANGE
        matrix = frame.colorspace if frame.colorspace in SWSCALE_MATRICES else self._colour.matrix
        converted = self._reformatter.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=swscale_matrix(matrix),
            interpolation=Interpolation.AREA,
            src_color_range=source_range,
            dst_color_range=FULL_RANGE,
            threads=1,
        )
        return converted.to_ndarray().astype(np.uint8, copy=False)

"""Converts frames of source videos whose colours are not the render's: HDR, other primaries, rare matrices."""

import functools

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline import planes
from service.pipeline.colour import FULL_RANGE, LIMITED_RANGE, SWSCALE_MATRICES, swscale_matrix, video_range
from service.pipeline.light.conversion import describe
from service.pipeline.light.cube import RGB_FORMAT, apply_cube
from service.pipeline.light.matrices import YCGCO, is_computed, to_rgb
from service.plan.colour import Colour

_PLANAR = "yuv444p16le"
# Exact rounding, and chroma of every pixel.
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.FULL_CHR_H_INT
_DEEP_WHITE = 65_535
# swscale shifts samples to 16 bits: white of limited range, and of RGB, is 255 * 256.
_SHIFTED_WHITE = 65_280
# Rows that are computed at a time, so that memory does not grow with the picture.
_BAND = 64


class ColourConverter:
    """Into the colours of one render."""

    def __init__(self, target: Colour) -> None:
        self._target = target
        self._reformatter = VideoReformatter()

    def description(self, source: Colour) -> str | None:
        """What is done to samples of these colours, for the receipt; None if only swscale's arithmetic is needed."""
        return _describe(source, self._target)

    def applies_to(self, source: Colour) -> bool:
        """Whether samples of these colours have to go through `apply`."""
        return source.matrix not in SWSCALE_MATRICES or _describe(source, self._target) is not None

    def apply(self, frame: VideoFrame, source: Colour, size: tuple[int, int]) -> VideoFrame:
        """A full-range gbrp16le frame in the render's colours; scaled to `size` if that has fewer pixels."""
        if size[0] * size[1] > frame.width * frame.height:
            size = (frame.width, frame.height)
        if is_computed(source.matrix) and not frame.format.is_rgb and len(frame.format.components) >= 3:
            rgb, peak = self._rgb_by_formula(frame, source, size), _DEEP_WHITE
        else:
            rgb, peak = self._reformat(frame, size, RGB_FORMAT, source.matrix, FULL_RANGE), _white_of(frame)
        if _describe(source, self._target) is None:
            return rgb
        return apply_cube(rgb, source, self._target, peak)

    def _rgb_by_formula(self, frame: VideoFrame, source: Colour, size: tuple[int, int]) -> VideoFrame:
        sample_range = video_range(frame)
        planar = self._reformat(frame, size, _PLANAR, source.matrix, sample_range)
        limited = sample_range == LIMITED_RANGE
        black, luma_span = (16 * 256, 219 * 256) if limited else (0, 255 * 256)
        chroma_span = 224 * 256 if limited and source.matrix != YCGCO else luma_span
        result = VideoFrame(*size, RGB_FORMAT)
        sources, targets = planes.plane_views(planar), planes.plane_views(result)
        for top in range(0, size[1], _BAND):
            y, cb, cr = (plane[top : top + _BAND].astype(np.float64) for plane in sources)
            rgb = to_rgb((y - black) / luma_span, (cb - 32_768) / chroma_span, (cr - 32_768) / chroma_span, source)
            levels = np.rint(rgb.clip(0, 1) * _DEEP_WHITE).astype(np.uint16)
            for into, channel in zip(targets, (1, 2, 0), strict=True):
                into[top : top + _BAND] = levels[..., channel]
        return result

    def _reformat(
        self, frame: VideoFrame, size: tuple[int, int], pixel_format: str, matrix: int, target_range: int
    ) -> VideoFrame:
        known = swscale_matrix(matrix) if matrix in SWSCALE_MATRICES else 1
        return self._reformatter.reformat(
            frame,
            *size,
            pixel_format,
            src_colorspace=known,
            dst_colorspace=known,
            interpolation=Interpolation.AREA | _EXACT,
            src_color_range=video_range(frame),
            dst_color_range=target_range,
            threads=1,
        )


@functools.lru_cache(maxsize=16)
def _describe(source: Colour, target: Colour) -> str | None:
    return describe(source, target)


def _white_of(frame: VideoFrame) -> int:
    """White in the gbrp16le frame that swscale makes of this one."""
    bits = frame.format.components[0].bits
    if frame.format.is_rgb or video_range(frame) == LIMITED_RANGE or bits > 16:
        return _SHIFTED_WHITE
    return ((1 << bits) - 1) << (16 - bits)

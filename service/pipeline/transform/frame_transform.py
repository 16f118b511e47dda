"""Converts a decoded picture to the encoder's pixel format and size: crop, rotate, tone, scale, pad."""

from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline import planes
from service.pipeline.colour import FULL_RANGE, LIMITED_RANGE, PIXEL_FORMATS, UNSPECIFIED, ColourTags, swscale_matrix
from service.pipeline.picture import ClipCounts, Picture
from service.pipeline.tone.tone_mapper import ToneMapper
from service.pipeline.transform.colour_range import convert_range
from service.pipeline.transform.crop import CropAndRotation
from service.pipeline.transform.placement import Placement, placement
from service.plan.render_plan import RenderOptions

_RGB_SOURCE = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
_RGB_TARGET = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


class FrameTransform:
    """One swscale context for the whole segment; it is set up anew only when a source's size or format changes."""

    def __init__(self, options: RenderOptions, colour: ColourTags) -> None:
        self._canvas = (options.width, options.height)
        self._mismatch = options.mismatch
        self._matrix = swscale_matrix(colour.matrix)
        self._target = PIXEL_FORMATS[options.form]
        self._tone = ToneMapper(options.tone) if options.tone else None
        self._framing = CropAndRotation(options) if options.crop or options.rotate else None
        self._reformatter = VideoReformatter()

    def count_clipped(self, picture: Picture) -> ClipCounts | None:
        """How much of it the tone cannot show; None for a picture that no tone is for."""
        return self._tone.count_clipped(picture) if self._tone else picture.clip_counts

    def applies_tone_to(self, picture: Picture) -> bool:
        return self._tone is not None and self._tone.applies_to(picture)

    def reshape_reason(self, picture: Picture) -> str | None:
        """Why the picture would be reshaped, or None. Raises SizeRefused."""
        size = self._framing.output_size(picture) if self._framing else picture.size
        return placement(size, self._canvas, self._mismatch).reason

    def apply(self, picture: Picture) -> tuple[VideoFrame, str | None]:
        """(frame ready to encode, why it was reshaped or None). Raises SizeRefused."""
        if self._framing:
            picture = self._framing.apply(picture)
        place = placement(picture.size, self._canvas, self._mismatch)
        width, height = (place.width, place.height)
        if picture.orientation >= 5:
            width, height = height, width
        frame = self._apply_tone(picture, width, height)
        if picture.orientation > 1:
            frame = self._rotate(frame, place, picture.orientation)
        return self._place_on_canvas(frame, place), place.reason

    def _rotate(self, frame: VideoFrame, place: Placement, orientation: int) -> VideoFrame:
        """Upright. Odd sides grow before the turn; half-width chroma, which it would make half-height, is made full."""
        if place.reason is None:
            wide, high = self._canvas
            frame = planes.pad_to(frame, *((high, wide) if orientation >= 5 else (wide, high)))
        name = frame.format.name
        if orientation < 5 or "422" not in name:
            return planes.apply_orientation(frame, orientation)
        upright = planes.apply_orientation(self._resample_chroma(frame, name.replace("422", "444")), orientation)
        return self._resample_chroma(upright, name)

    def _resample_chroma(self, frame: VideoFrame, pixel_format: str) -> VideoFrame:
        given = self._target.range
        return self._reformatter.reformat(
            frame, format=pixel_format, src_color_range=given, dst_color_range=given, threads=1
        )

    def _apply_tone(self, picture: Picture, width: int, height: int) -> VideoFrame:
        if self._tone is None or not self.applies_tone_to(picture):
            return self._convert(picture.frame, width, height)
        if picture.frame.format.is_rgb:
            return self._convert(self._tone.map_rgb(picture, width, height), width, height)
        return self._convert(self._tone.map_gray(picture, width, height), width, height)

    def _convert(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        """Scale and subsample; the range of 8-bit YCbCr and gray stays here, and is then changed by table."""
        given, form = _frame_range(frame), self._target
        fits = (frame.width, frame.height) == (width, height) and self._matches_format(frame)
        if given == form.range or form.rgb or form.high_bit_depth or frame.format.is_rgb:
            unchanged = fits and given == form.range
            return self._relabel(frame) if unchanged else self._scale(frame, (width, height), form.range)
        laid_out = frame if fits else self._scale(frame, (width, height), given)
        return convert_range(form.range, laid_out, form.pixel_format)

    def _matches_format(self, frame: VideoFrame) -> bool:
        """Whether its samples are the form's own but for their range."""
        same = frame.format.name.replace("yuvj", "yuv") == self._target.pixel_format
        return same and (len(frame.planes) == 1 or swscale_matrix(_frame_matrix(frame, self._matrix)) == self._matrix)

    def _relabel(self, frame: VideoFrame) -> VideoFrame:
        if frame.format.name == self._target.pixel_format:
            return frame
        return planes.relabel(frame, self._target.pixel_format)

    def _scale(self, frame: VideoFrame, size: tuple[int, int], target_range: int) -> VideoFrame:
        return self._reformatter.reformat(
            frame,
            *size,
            self._target.pixel_format,
            src_colorspace=swscale_matrix(_frame_matrix(frame, self._matrix)),
            dst_colorspace=self._matrix,
            interpolation=self._interpolation(frame, *size),
            src_color_range=_frame_range(frame),
            dst_color_range=target_range,
            threads=1,
        )

    def _interpolation(self, frame: VideoFrame, width: int, height: int) -> Interpolation:
        """Averaging for reduction (each source pixel counts), bicubic for enlargement; exact rounding for RGB."""
        shrinks = width * height <= frame.width * frame.height
        kernel = Interpolation.AREA if shrinks else Interpolation.BICUBIC
        if self._target.rgb:
            kernel |= _RGB_TARGET
        return kernel | _RGB_SOURCE if frame.format.is_rgb else kernel

    def _place_on_canvas(self, frame: VideoFrame, place: Placement) -> VideoFrame:
        if (frame.width, frame.height) == self._canvas:
            return frame
        if place.reason is None:
            return planes.pad_to(frame, *self._canvas)
        return planes.paste(frame, planes.black_frame(*self._canvas, self._target), place.left, place.top)


def _frame_matrix(frame: VideoFrame, assumed: int) -> int:
    return assumed if frame.colorspace in (0, UNSPECIFIED) else frame.colorspace


def _frame_range(frame: VideoFrame) -> int:
    """FFmpeg leaves the range of RGB and gray images open: they are full range."""
    if frame.color_range != 0:
        return frame.color_range
    return LIMITED_RANGE if frame.format.name.startswith("yuv") and "j" not in frame.format.name else FULL_RANGE

"""Converts a decoded picture to the encoder's pixel format and size: crop, rotate, tone, scale, pad."""

from av import VideoFormat, VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline import planes
from service.pipeline.colour import PIXEL_FORMATS, SWSCALE_MATRICES, ColourTags, swscale_matrix, video_range
from service.pipeline.orientation import oriented_size, swaps_sides
from service.pipeline.picture import ClipCounts, Picture
from service.pipeline.tone.tone_mapper import ToneMapper
from service.pipeline.transform.colour_conversion import ColourConverter
from service.pipeline.transform.colour_range import convert_range
from service.pipeline.transform.crop import CropAndRotation
from service.pipeline.transform.pixel_aspect import OutputPixels
from service.pipeline.transform.placement import Placement, placement
from service.plan.render_plan import RenderOptions

# Exact rounding, and chroma of every pixel.
_RGB_SOURCE = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
_RGB_TARGET = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

# Bytes a pixel that are held while chroma is cropped between its samples.
_CROPPED_CHROMA = 4
# Bytes a pixel that a tone takes: stretched samples, a copy of each channel, indexes of its table.
_TONED_GRAY, _TONED_RGB, _TONED_RGB_UNSCALED = 3, 15, 27


class FrameTransform:
    """One transform per segment: swscale is set up again only if a source's size or format changes."""

    def __init__(self, options: RenderOptions, colour: ColourTags) -> None:
        self._canvas = (options.width, options.height)
        self._mismatch = options.mismatch
        self._matrix = swscale_matrix(colour.matrix)
        self._converter = ColourConverter(colour)
        self._target = PIXEL_FORMATS[options.form]
        # Gray stays gray: swscale would give the gray of limited-range YCbCr another range than it is asked for.
        as_gray = self._target.pixel_format == "gray"
        self._tone = ToneMapper(options.tone, full_range_gray=as_gray) if options.tone else None
        self._crop = CropAndRotation(options) if options.crop or options.rotate else None
        self._pixels = OutputPixels(options)
        self._reformatter = VideoReformatter()

    def count_clipped(self, picture: Picture) -> ClipCounts | None:
        """How many samples are outside the tone window; None for a picture without a tone."""
        return self._tone.count_clipped(picture) if self._tone else picture.clip_counts

    def applies_tone_to(self, picture: Picture) -> bool:
        """Whether the render has a tone that is meant for pictures of this format."""
        return self._tone is not None and self._tone.applies_to(picture)

    def reshape_reason(self, picture: Picture) -> str | None:
        """Why `apply` would pad or stretch the picture, or None. Raises SizeMismatch."""
        size = self._crop.output_size(picture) if self._crop else picture.size
        return placement(size, self._canvas, self._mismatch).reason

    def describe_pixels(self, picture: Picture) -> tuple[str, ...]:
        """What `apply` does to stored pixels that are not square, for the receipt."""
        return self._pixels.describe(picture) if picture.pixel_aspect is not None else ()

    def conversions(self, picture: Picture) -> tuple[str, ...]:
        """What `apply` does to the colours of the picture beyond its matrix and range, in words."""
        done = self._converter.description(picture.colour) if picture.colour else None
        return (done,) if done else ()

    def keeps_rows(self, picture: Picture) -> bool:
        """Whether every row of every plane stays a row of its own, so that the fields of the picture are not mixed."""
        if self._crop or picture.orientation != 1 or picture.size[1] != self._canvas[1]:
            return False
        stored, target = picture.frame.format, VideoFormat(self._target.pixel_format)
        height = picture.size[1]
        same_chroma = stored.chroma_height(height) == target.chroma_height(height)
        return same_chroma and placement(picture.size, self._canvas, self._mismatch).height == height

    def memory_needed(self, picture: Picture) -> int:
        """Bytes that `apply` takes for the picture as stored, before it is scaled."""
        frame, needed = picture.frame, 0
        width, height = self._crop.output_size(picture) if self._crop else picture.size
        pixels = width * height
        if self._crop:
            chroma = _CROPPED_CHROMA if len(frame.planes) > 1 else 0
            needed += pixels * (frame.format.padded_bits_per_pixel // 8 + chroma)
        if self.applies_tone_to(picture):
            rgb_bytes = _TONED_RGB if pixels > self._canvas[0] * self._canvas[1] else _TONED_RGB_UNSCALED
            needed += pixels * (rgb_bytes if frame.format.is_rgb else _TONED_GRAY)
        return needed

    def apply(self, picture: Picture) -> tuple[VideoFrame, str | None]:
        """(frame ready to encode, why it was padded or stretched or None). Raises SizeMismatch."""
        if picture.pixel_aspect is not None or not self._pixels.are_square:
            picture = self._pixels.apply(picture)
        if self._crop:
            picture = self._crop.apply(picture)
        place = placement(picture.size, self._canvas, self._mismatch)
        width, height = oriented_size((place.width, place.height), picture.orientation)
        frame = picture.frame
        if self._tone is not None and self.applies_tone_to(picture):
            map_samples = self._tone.map_rgb if frame.format.is_rgb else self._tone.map_gray
            frame = map_samples(picture, width, height)
        elif picture.colour is not None and self._converter.applies_to(picture.colour):
            frame = self._converter.apply(frame, picture.colour, (width, height))
        frame = self._convert(frame, width, height)
        if picture.orientation > 1:
            frame = self._rotate(frame, place, picture.orientation)
        if (frame.width, frame.height) == self._canvas:
            return frame, place.reason
        if place.reason is None:
            return planes.pad_to(frame, *self._canvas), None
        canvas = planes.black_frame(*self._canvas, self._target)
        return planes.paste(frame, canvas, place.left, place.top), place.reason

    def _rotate(self, frame: VideoFrame, place: Placement, orientation: int) -> VideoFrame:
        """The upright frame. Odd sides are padded before; 4:2:2 chroma is resampled when width and height are
        exchanged."""
        if place.reason is None:
            frame = planes.pad_to(frame, *oriented_size(self._canvas, orientation))
        name = frame.format.name
        if not swaps_sides(orientation) or "422" not in name:
            return planes.apply_orientation(frame, orientation)
        upright = planes.apply_orientation(self._resample_chroma(frame, name.replace("422", "444")), orientation)
        return self._resample_chroma(upright, name)

    def _resample_chroma(self, frame: VideoFrame, pixel_format: str) -> VideoFrame:
        unchanged = self._target.range
        return self._reformatter.reformat(
            frame, format=pixel_format, src_color_range=unchanged, dst_color_range=unchanged, threads=1
        )

    def _convert(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        """Scale and convert to the target's pixel format and range.

        swscale keeps the range of 8-bit YCbCr and gray, which `convert_range` then changes.
        """
        source_range, target = video_range(frame), self._target
        matches = (frame.width, frame.height) == (width, height) and self._matches_format(frame)
        if source_range == target.range and matches:
            return frame if frame.format.name == target.pixel_format else planes.relabel(frame, target.pixel_format)
        if source_range == target.range or target.rgb or target.high_bit_depth or frame.format.is_rgb:
            return self._scale(frame, (width, height), target.range)
        scaled = frame if matches else self._scale(frame, (width, height), source_range)
        return convert_range(target.range, scaled, target.pixel_format)

    def _matches_format(self, frame: VideoFrame) -> bool:
        """Whether the frame has the target's pixel format and matrix; its range may differ."""
        same = frame.format.name.replace("yuvj", "yuv") == self._target.pixel_format
        return same and (len(frame.planes) == 1 or swscale_matrix(_frame_matrix(frame, self._matrix)) == self._matrix)

    def _scale(self, frame: VideoFrame, size: tuple[int, int], target_range: int) -> VideoFrame:
        """Through swscale: area average to shrink (every source pixel counts), bicubic to enlarge."""
        interpolation = Interpolation.AREA if size[0] * size[1] <= frame.width * frame.height else Interpolation.BICUBIC
        if self._target.rgb:
            interpolation |= _RGB_TARGET
        if frame.format.is_rgb:
            interpolation |= _RGB_SOURCE
        source_matrix = swscale_matrix(_frame_matrix(frame, self._matrix))
        if source_matrix != self._matrix:  # swscale converts through RGB, else up to 3 levels too dark
            interpolation |= _RGB_SOURCE | _RGB_TARGET
        return self._reformatter.reformat(
            frame,
            *size,
            self._target.pixel_format,
            src_colorspace=source_matrix,
            dst_colorspace=self._matrix,
            interpolation=interpolation,
            src_color_range=video_range(frame),
            dst_color_range=target_range,
            threads=1,
        )


def _frame_matrix(frame: VideoFrame, assumed: int) -> int:
    """The frame's own, which `VideoSource` fills in for source videos; images have that of the render."""
    return frame.colorspace if frame.colorspace in SWSCALE_MATRICES else assumed

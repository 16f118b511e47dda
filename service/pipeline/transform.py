"""Picture -> yuv420p limited range at the output's size: one swscale pass, and plane copies only where needed."""

from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline import geometry, planes
from service.pipeline.colour import FULL, LIMITED, UNSPECIFIED, Colour, swscale_matrix
from service.pipeline.framing import Framing
from service.pipeline.geometry import Placement
from service.pipeline.picture import Picture
from service.plan.render_plan import RenderOptions

_RGB_SOURCE = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class SizeRefused(Exception):
    """The picture's shape differs from the output's and the policy is `fail`."""


class Transform:
    """One swscale context for the whole segment; it is set up anew only when a source's size or format changes."""

    def __init__(self, options: RenderOptions, colour: Colour) -> None:
        self._canvas = (options.width, options.height)
        self._mismatch = options.mismatch
        self._matrix = swscale_matrix(colour.matrix)
        self._framing = Framing(options) if options.crop or options.rotate else None
        self._reformatter = VideoReformatter()

    def apply(self, picture: Picture) -> tuple[VideoFrame, str | None]:
        """(frame ready to encode, why it was reshaped or None). Raises SizeRefused."""
        if self._framing:
            picture = self._framing.apply(picture)
        place = self._place(picture)
        width, height = (place.width, place.height)
        if picture.orientation >= 5:
            width, height = height, width
        frame = self._convert(picture.frame, width, height)
        if picture.orientation > 1:
            frame = planes.turned(planes.even(frame), picture.orientation)
        return self._on_canvas(frame, place), place.reason

    def _place(self, picture: Picture) -> Placement:
        source = picture.size
        if _only_odd(source, self._canvas):
            return Placement(*source)
        if geometry.same_aspect(source, self._canvas):
            return Placement(*self._canvas)
        if self._mismatch == "fail":
            raise SizeRefused(geometry.mismatch_reason(source, self._canvas))
        return (geometry.pad if self._mismatch == "pad" else geometry.stretch)(source, self._canvas)

    def _convert(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        """Scale and subsample; full-range YCbCr and gray keep their range here and are narrowed by table."""
        by_table = _range_of(frame) == FULL and not frame.format.is_rgb
        if by_table and frame.format.name == "yuvj420p" and (frame.width, frame.height) == (width, height):
            return planes.narrowed(frame)
        scaled = self._scale(frame, (width, height), FULL if by_table else LIMITED)
        return planes.narrowed(scaled) if by_table else scaled

    def _scale(self, frame: VideoFrame, size: tuple[int, int], wanted_range: int) -> VideoFrame:
        return self._reformatter.reformat(
            frame,
            *size,
            "yuv420p",
            src_colorspace=swscale_matrix(_matrix_of(frame, self._matrix)),
            dst_colorspace=self._matrix,
            interpolation=_interpolation(frame, *size),
            src_color_range=_range_of(frame),
            dst_color_range=wanted_range,
            threads=1,
        )

    def _on_canvas(self, frame: VideoFrame, place: Placement) -> VideoFrame:
        if (frame.width, frame.height) == self._canvas:
            return frame
        if place.reason is None:
            return planes.even(frame)
        return planes.placed(frame, planes.black(*self._canvas), place.left, place.top)


def _only_odd(source: tuple[int, int], canvas: tuple[int, int]) -> bool:
    """Whether the canvas is the source at its own size, made even by at most one column and one row."""
    return source != canvas and all(side + side % 2 == even for side, even in zip(source, canvas, strict=True))


def _matrix_of(frame: VideoFrame, assumed: int) -> int:
    return assumed if frame.colorspace in (0, UNSPECIFIED) else frame.colorspace


def _range_of(frame: VideoFrame) -> int:
    """FFmpeg leaves the range of RGB and gray images open: they are full range."""
    if frame.color_range != 0:
        return frame.color_range
    return LIMITED if frame.format.name.startswith("yuv") and "j" not in frame.format.name else FULL


def _interpolation(frame: VideoFrame, width: int, height: int) -> Interpolation:
    """Averaging for reduction (each source pixel counts), bicubic for enlargement; exact rounding out of RGB."""
    shrinks = width * height <= frame.width * frame.height
    kernel = Interpolation.AREA if shrinks else Interpolation.BICUBIC
    return kernel | _RGB_SOURCE if frame.format.is_rgb else kernel

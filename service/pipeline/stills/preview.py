"""Renders one source frame as a small JPEG, decoded the same way as in a render."""

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from service.pipeline.colour import (
    DEFAULT_VIDEO_COLOUR,
    FULL_RANGE,
    IMAGE_COLOUR,
    LIMITED_RANGE,
    ColourTags,
    swscale_matrix,
)
from service.pipeline.frame_context import FrameContext, MediaStage, Stage, Stopwatch, run_stages
from service.pipeline.frames import (
    FrameDamaged,
    FrameMissing,
    FrameReader,
    FrameUnavailable,
    MediaUnreadable,
    SourceReader,
)
from service.pipeline.images.header import DecodeOptions
from service.pipeline.stages import FetchStage, ImageDecodeStage, TiffPageDecodeStage, VideoDecodeStage
from service.pipeline.stills.artifacts import encode_image
from service.pipeline.stills.rgb import Pixels
from service.pipeline.tone.window import Window
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.render_plan import FrameRef, RenderOptions
from service.plan.tone import Tone

JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """`width` is the JPEG's in pixels, unless the frame is smaller; `tone` applies to image frames only."""

    width: int
    max_pixels: int
    tone: Tone | None = None


def image_preview(ref: FrameRef, reader: FrameReader, sources: SourceReader, options: PreviewOptions) -> bytes:
    """JPEG of an image frame or of a TIFF page.

    Raises FrameMissing, FrameUnavailable for one that changed, FrameDamaged, MediaUnreadable, and what `reader` and
    `sources` raise beyond them.
    """
    window = Window.of(options.tone) if options.tone else None
    decoding = DecodeOptions(options.max_pixels, window=window)
    with closing(TiffPageDecodeStage(sources, decoding)) as decode_tiff_page:
        stages: list[Stage] = [FetchStage(reader), decode_tiff_page, ImageDecodeStage(decoding)]
        return _render_jpeg(ref, stages, PreviewTransformStage(options.width, IMAGE_COLOUR, options.tone))


def video_preview(ref: FrameRef, sources: SourceReader, options: PreviewOptions) -> bytes:
    """JPEG of a frame of a source video, HDR shown as SDR.

    Raises what `image_preview` raises.
    """
    with closing(VideoDecodeStage(sources, options.max_pixels)) as decode:
        return _render_jpeg(ref, [decode], PreviewTransformStage(options.width, DEFAULT_VIDEO_COLOUR))


class PreviewTransformStage(MediaStage):
    """Scales a picture to the width of the preview and, if given, into its height, never up, and keeps its aspect; sets
    `size`, (width, height)."""

    name, verb = "transform", "converted"

    def __init__(self, width: int, colour: ColourTags, tone: Tone | None = None, max_height: int | None = None) -> None:
        self._width, self._max_height, self.colour, self._tone = width, max_height, colour, tone
        self.size = (0, 0)

    def __call__(self, context: FrameContext) -> None:
        assert context.picture is not None
        width, height = context.picture.size
        shown_width, most = min(self._width, width), self._max_height
        if most is not None and round(height * shown_width / width) > most:
            shown_width = max(1, round(width * most / height))
        self.size = shown_width, max(1, round(height * shown_width / width))
        even = [side + side % 2 for side in self.size]
        options = RenderOptions("h264", 70, Fraction(1), even[0], even[1], mismatch="scale", tone=self._tone)
        context.frame, _ = FrameTransform(options, self.colour).apply(context.picture)


def _render_jpeg(ref: FrameRef, decode_stages: list[Stage], transform: PreviewTransformStage) -> bytes:
    context = run_stages(ref, [*decode_stages, transform], Stopwatch("fetch", "decode", "transform"))
    if context.fault == "missing":
        raise FrameMissing(context.reason or "it is missing")
    if context.fault == "changed":
        raise FrameUnavailable(context.reason or "it changed")
    if not isinstance(context.frame, VideoFrame):
        error = FrameDamaged if context.transient else MediaUnreadable
        raise error(context.reason or "it cannot be decoded")
    return encode_image(to_rgb(context.frame, transform), "JPEG", quality=JPEG_QUALITY)


def to_rgb(frame: VideoFrame, transform: PreviewTransformStage) -> Pixels:
    """(height, width, 3) of uint8, of the size that the stage has set for this frame."""
    pixels = VideoReformatter().reformat(
        frame,
        *transform.size,
        "rgb24",
        src_colorspace=swscale_matrix(transform.colour.matrix),
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        src_color_range=LIMITED_RANGE,
        dst_color_range=FULL_RANGE,
        threads=1,
    )
    return pixels.to_ndarray().astype(np.uint8, copy=False)

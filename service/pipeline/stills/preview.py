"""Renders one source frame as a small JPEG, decoded the same way as in a render."""

import io
from contextlib import closing
from fractions import Fraction

from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from service.pipeline.colour import FULL_RANGE, IMAGE_COLOUR, LIMITED_RANGE, ColourTags, swscale_matrix
from service.pipeline.frame_context import FrameContext, Stage, Stopwatch, run_stages
from service.pipeline.frames import FrameMissing, FrameReader, MediaUnreadable, SourceReader
from service.pipeline.stages import FetchStage, ImageDecodeStage, TiffPageDecodeStage, VideoDecodeStage
from service.pipeline.tone.window import Window
from service.pipeline.transform.frame_transform import FrameTransform
from service.plan.formats import BLACK
from service.plan.render_plan import FrameRef, RenderOptions
from service.plan.tone import Tone

JPEG_QUALITY = 85


class PreviewTransformStage:
    """Scales down to `width` pixels, never up, keeping the shape; `size` is what came of it, (width, height)."""

    name = "transform"

    def __init__(self, width: int, colour: ColourTags, tone: Tone | None = None) -> None:
        self._width, self._colour, self._tone = width, colour, tone
        self.size = (0, 0)

    def __call__(self, context: FrameContext) -> None:
        assert context.picture is not None
        width, height = context.picture.size
        wanted = min(self._width, width)
        self.size = wanted, max(1, round(height * wanted / width))
        even = [side + side % 2 for side in self.size]
        options = RenderOptions("h264", 70, Fraction(1), even[0], even[1], mismatch="scale", tone=self._tone)
        context.frame, _ = FrameTransform(options, self._colour).apply(context.picture)


def image_preview(
    ref: FrameRef, readers: tuple[FrameReader, SourceReader], width: int, max_pixels: int, tone: Tone | None = None
) -> bytes:
    """JPEG of an image frame or a page, a deep one through `tone`.

    Raises FrameMissing, Unreadable, and what the readers raise beyond them.
    """
    window = Window(tone.low, tone.high) if tone else None
    with closing(TiffPageDecodeStage(readers[1], (max_pixels, BLACK), window)) as pages:
        stages: list[Stage] = [FetchStage(readers[0]), pages, ImageDecodeStage(max_pixels, window=window)]
        return _render_jpeg(ref, stages, PreviewTransformStage(width, IMAGE_COLOUR, tone), IMAGE_COLOUR)


def video_preview(ref: FrameRef, sources: SourceReader, width: int, max_pixels: int) -> bytes:
    """JPEG of a source video's picture. Raises FrameMissing, Unreadable, and what `sources` raises beyond them."""
    decode = VideoDecodeStage(sources, max_pixels)
    try:
        colour = decode.source_colour([ref])
        return _render_jpeg(ref, [decode], PreviewTransformStage(width, colour), colour)
    finally:
        decode.close()


def _render_jpeg(
    ref: FrameRef, decode_stages: list[Stage], transform: PreviewTransformStage, colour: ColourTags
) -> bytes:
    work = run_stages(ref, [*decode_stages, transform], Stopwatch("fetch", "decode", "transform"))
    if work.fault == "missing":
        raise FrameMissing(work.reason or "it is missing")
    if not isinstance(work.frame, VideoFrame):
        raise MediaUnreadable(work.reason or "it cannot be decoded")
    pixels = VideoReformatter().reformat(
        work.frame,
        *transform.size,
        "rgb24",
        src_colorspace=swscale_matrix(colour.matrix),
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        src_color_range=LIMITED_RANGE,
        dst_color_range=FULL_RANGE,
        threads=1,
    )
    out = io.BytesIO()
    Image.fromarray(pixels.to_ndarray()).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()

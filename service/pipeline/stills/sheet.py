"""A sheet of thumbnails: small pictures of many frames in one JPEG, decoded the same way as in a render."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from av import VideoFrame

from service.pipeline.colour import DEFAULT_VIDEO_COLOUR, IMAGE_COLOUR
from service.pipeline.frame_context import FrameContext, FrameTally, FrameWatch, Stage, Stopwatch, run_stages
from service.pipeline.frames import FrameReader, SourceReader
from service.pipeline.images.header import DecodeOptions
from service.pipeline.stages import FetchStage, ImageDecodeStage, TiffPageDecodeStage, VideoDecodeStage
from service.pipeline.stills.artifacts import encode_image
from service.pipeline.stills.preview import PreviewTransformStage, to_rgb
from service.pipeline.stills.rgb import Pixels
from service.pipeline.tone.window import Window
from service.plan.formats import SourceKind
from service.plan.render_plan import FrameRef
from service.plan.tone import Tone

JPEG_QUALITY = 80
# Of a cell whose frame cannot be shown: a cross on a dark ground.
MARK, GROUND = (200, 60, 60), (40, 40, 40)


@dataclass(frozen=True, slots=True)
class SheetOptions:
    """`cell` is (width, height) in pixels; `tone` applies to image frames only."""

    kind: SourceKind
    cell: tuple[int, int]
    columns: int
    max_pixels: int
    tone: Tone | None = None


class Sheet:
    """Cells for so many frames, row by row. `transient`: another attempt may show a frame that is marked now."""

    def __init__(self, options: SheetOptions, frames: int) -> None:
        self._options, self.transient = options, False
        rows, (width, height) = -(-frames // options.columns), options.cell
        self._pixels: Pixels = np.zeros((rows * height, options.columns * width, 3), np.uint8)

    def draw(self, refs: Sequence[FrameRef], reader: FrameReader, sources: SourceReader, watch: FrameWatch) -> None:
        """Draw these frames, from the first cell on. Raises what `reader` and `sources` raise beyond FrameUnavailable
        and FrameUnreadable."""
        stopwatch, tally = Stopwatch("fetch", "decode", "transform"), FrameTally()
        with self._open_stages(reader, sources) as (stages, transform):
            run_frame = tally.watch(watch.guard(lambda ref: run_stages(ref, stages, stopwatch)))
            for place, ref in enumerate(refs):
                watch.report_progress(place)
                context = FrameContext(ref, fault="missing") if ref.key is None else run_frame(ref)
                if isinstance(context.frame, VideoFrame):
                    self._paste(place, to_rgb(context.frame, transform))
                else:
                    self._mark(place)
        self.transient |= tally.transient

    def finish(self) -> bytes:
        """The JPEG."""
        return encode_image(self._pixels, "JPEG", quality=JPEG_QUALITY)

    @contextmanager
    def _open_stages(
        self, reader: FrameReader, sources: SourceReader
    ) -> Iterator[tuple[list[Stage], PreviewTransformStage]]:
        options = self._options
        width, height = options.cell
        if options.kind == "video":
            transform = PreviewTransformStage(width, DEFAULT_VIDEO_COLOUR, max_height=height)
            with closing(VideoDecodeStage(sources, options.max_pixels)) as decode:
                yield [decode, transform], transform
            return
        transform = PreviewTransformStage(width, IMAGE_COLOUR, options.tone, height)
        decoding = DecodeOptions(options.max_pixels, window=Window.of(options.tone) if options.tone else None)
        with closing(TiffPageDecodeStage(sources, decoding)) as decode_tiff_page:
            yield [FetchStage(reader), decode_tiff_page, ImageDecodeStage(decoding), transform], transform

    def _cell(self, place: int) -> Pixels:
        """A view of its pixels."""
        width, height = self._options.cell
        top, left = place // self._options.columns * height, place % self._options.columns * width
        return self._pixels[top : top + height, left : left + width]

    def _paste(self, place: int, picture: Pixels) -> None:
        """In the middle of the cell: a frame of another shape leaves bars."""
        cell = self._cell(place)
        top, left = (cell.shape[0] - picture.shape[0]) // 2, (cell.shape[1] - picture.shape[1]) // 2
        cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture

    def _mark(self, place: int) -> None:
        cell = self._cell(place)
        cell[:] = GROUND
        height, width = cell.shape[:2]
        steps = np.arange(max(height, width))
        rows, columns = steps * height // len(steps), steps * width // len(steps)
        cell[rows, columns] = cell[rows, width - 1 - columns] = MARK

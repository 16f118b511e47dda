"""Where pictures come from: image objects one by one, or the pictures of source videos. Each is a list of stages."""

from collections.abc import Iterable

from service.pipeline.colour import VIDEO_COLOUR, Colour, video_colour
from service.pipeline.decode import ImageDecoder
from service.pipeline.frames import FrameMissing, SourceReader, Unreadable
from service.pipeline.image_header import require_pixels_within
from service.pipeline.picture import Picture
from service.pipeline.transform import Transform
from service.pipeline.video_source import VideoSource
from service.pipeline.window import Window
from service.pipeline.work import Work
from service.plan.formats import BLACK
from service.plan.render_plan import FrameRef


class DecodeImage:
    name = "decode"

    def __init__(self, max_pixels: int, background: str = BLACK, window: Window | None = None) -> None:
        self._decoder = ImageDecoder(max_pixels, background, window)

    def __call__(self, work: Work) -> None:
        if work.picture is not None:  # a page of a stack
            return
        work.picture = self._decoder.decode(work.data)
        work.data = b""
        work.decoder = work.picture.decoder


class DecodeVideo:
    """Keeps one source open: consecutive frames of the same object are read forward."""

    name = "decode"

    def __init__(self, sources: SourceReader, max_pixels: int) -> None:
        self._sources = sources
        self._max_pixels = max_pixels
        self._key: str | None = None
        self._source: VideoSource | None = None

    def __call__(self, work: Work) -> None:
        work.picture = self._picture(work.ref)
        work.decoder = work.picture.decoder

    def colour(self, refs: Iterable[FrameRef]) -> Colour:
        """The tags of the first source named; every segment of a render must come to the same ones."""
        ref = next((ref for ref in refs if ref.key is not None), None)
        try:
            return video_colour(self._open(ref).first()) if ref else VIDEO_COLOUR
        except (FrameMissing, Unreadable):
            return VIDEO_COLOUR

    def close(self) -> None:
        if self._source:
            self._source.close()
        self._key = self._source = None

    def _picture(self, ref: FrameRef) -> Picture:
        if ref.key is None or ref.pts is None:
            raise FrameMissing("the source video has no picture here")
        return self._open(ref).picture(ref.pts)

    def _open(self, ref: FrameRef) -> VideoSource:
        if self._source is None or self._key != ref.key:
            self.close()
            self._source = VideoSource(self._sources.open(ref))
            self._key = ref.key
        require_pixels_within(self._source.stream.width, self._source.stream.height, self._max_pixels)
        return self._source


class MeasurePicture:
    """In the place of FitPicture for members of a bin: what a tone is for is left as it was measured."""

    name = "transform"

    def __init__(self, transform: Transform) -> None:
        self._transform, self._fit = transform, FitPicture(transform)

    def __call__(self, work: Work) -> None:
        assert work.picture is not None
        if not self._transform.tones(work.picture):
            self._fit(work)
            return
        work.reason = self._transform.reshaped(work.picture)
        work.measured = work.picture


class FitPicture:
    """The transform as a stage."""

    name = "transform"

    def __init__(self, transform: Transform) -> None:
        self._transform = transform

    def __call__(self, work: Work) -> None:
        assert work.picture is not None
        work.clipped = self._transform.clipped(work.picture)
        work.frame, work.reason = self._transform.apply(work.picture)

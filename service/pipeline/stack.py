"""Pages of multi-page TIFFs, read by ranges: a frame costs its own bytes, not the stack's."""

import hashlib
import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from service.pipeline.decode import picture_of
from service.pipeline.frames import FrameMissing, SourceReader
from service.pipeline.tiff import TiffPage, decode_page, open_tiff
from service.pipeline.window import Window
from service.pipeline.work import Work
from service.plan.render_plan import FrameRef

if TYPE_CHECKING:
    from typing_extensions import Buffer


class PageFile(io.RawIOBase):
    """A file that digests what is read of it, and whose own failure outlives what a codec makes of it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self._failure = file, cast(Exception | None, None)
        self.digest = hashlib.sha256()

    def readinto(self, buffer: "Buffer") -> int:
        try:
            data = self._file.read(memoryview(buffer).nbytes)
        except Exception as error:
            self._failure = error
            raise
        memoryview(buffer).cast("B")[: len(data)] = data
        self.digest.update(data)
        return len(data)

    def check(self) -> None:
        """Raises what the file raised."""
        if self._failure is not None:
            raise self._failure

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


class Stack:
    """One open multi-page TIFF."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = PageFile(file)
        try:
            self._tiff: Any = open_tiff(cast(BinaryIO, self._file))
        finally:
            self._file.check()

    def page(self, offset: int, bounds: tuple[int, str]) -> tuple[TiffPage, str]:
        """The page whose directory is at `offset`, and the sha256 (hex) of the bytes read for it. Raises Unreadable."""
        self._file.digest = hashlib.sha256()
        try:
            return decode_page(self._tiff, offset, bounds), self._file.digest.hexdigest()
        finally:
            self._file.check()

    def close(self) -> None:
        self._file.close()


class DecodePage:
    """For frames that are pages; others are left to the stages after it. Consecutive pages share one open file."""

    name = "decode"

    def __init__(self, sources: SourceReader, bounds: tuple[int, str], window: Window | None) -> None:
        """`bounds` is (max_pixels, background)."""
        self._sources, self._bounds, self._window = sources, bounds, window
        self._open: tuple[str | None, Stack] | None = None

    def __call__(self, work: Work) -> None:
        if work.ref.page is None:
            return
        page, work.sha256 = self._stack(work.ref).page(work.ref.page_offset, self._bounds)
        work.picture = picture_of(page.samples, self._window, "tifffile", page.orientation)
        work.decoder = work.picture.decoder

    def _stack(self, ref: FrameRef) -> Stack:
        if ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        if self._open is None or self._open[0] != ref.key:
            self.close()
            self._open = (ref.key, Stack(self._sources.open(ref)))
        return self._open[1]

    def close(self) -> None:
        if self._open:
            self._open[1].close()
        self._open = None

"""Pages of multi-page TIFFs, read by ranges: a frame costs its own bytes, not the stack's."""

import hashlib
import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from service.pipeline.decode import to_picture
from service.pipeline.frames import FrameMissing, SourceReader
from service.pipeline.tiff import TiffPage, decode_tiff_page, open_tiff
from service.pipeline.window import Window
from service.pipeline.work import FrameContext
from service.plan.render_plan import FrameRef

if TYPE_CHECKING:
    from typing_extensions import Buffer


class HashingFile(io.RawIOBase):
    """A file that digests what is read of it, and whose own failure outlives what a codec makes of it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self._read_error = file, cast(Exception | None, None)
        self.digest = hashlib.sha256()

    def readinto(self, buffer: "Buffer") -> int:
        try:
            data = self._file.read(memoryview(buffer).nbytes)
        except Exception as error:
            self._read_error = error
            raise
        memoryview(buffer).cast("B")[: len(data)] = data
        self.digest.update(data)
        return len(data)

    def raise_read_error(self) -> None:
        """Raises what the file raised."""
        if self._read_error is not None:
            raise self._read_error

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


class TiffStack:
    """One open multi-page TIFF."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = HashingFile(file)
        try:
            self._tiff: Any = open_tiff(cast(BinaryIO, self._file))
        finally:
            self._file.raise_read_error()

    def decode_page(self, offset: int, bounds: tuple[int, str]) -> tuple[TiffPage, str]:
        """The page whose directory is at `offset`, and the sha256 (hex) of the bytes read for it. Raises Unreadable."""
        self._file.digest = hashlib.sha256()
        try:
            return decode_tiff_page(self._tiff, offset, bounds), self._file.digest.hexdigest()
        finally:
            self._file.raise_read_error()

    def close(self) -> None:
        self._file.close()


class TiffPageDecodeStage:
    """For frames that are pages; others are left to the stages after it. Consecutive pages share one open file."""

    name = "decode"

    def __init__(self, sources: SourceReader, bounds: tuple[int, str], window: Window | None) -> None:
        """`bounds` is (max_pixels, background)."""
        self._sources, self._bounds, self._window = sources, bounds, window
        self._open_file: tuple[str | None, TiffStack] | None = None

    def __call__(self, context: FrameContext) -> None:
        if context.ref.page is None:
            return
        page, context.sha256 = self._open_stack(context.ref).decode_page(context.ref.page_offset, self._bounds)
        context.picture = to_picture(page.samples, self._window, "tifffile", page.orientation)
        context.decoder = context.picture.decoder

    def _open_stack(self, ref: FrameRef) -> TiffStack:
        if ref.key is None:
            raise FrameMissing("the numbering has a hole here")
        if self._open_file is None or self._open_file[0] != ref.key:
            self.close()
            self._open_file = (ref.key, TiffStack(self._sources.open(ref)))
        return self._open_file[1]

    def close(self) -> None:
        if self._open_file:
            self._open_file[1].close()
        self._open_file = None

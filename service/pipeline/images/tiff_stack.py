"""Reads pages of multi-page TIFFs with ranged reads, so that a frame costs only its own bytes."""

import hashlib
import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from service.pipeline.images.tiff import TiffPage, decode_tiff_page, open_tiff

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

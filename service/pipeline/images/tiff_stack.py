"""Decodes pages of multi-page TIFFs over ranged reads: a frame reads only its own bytes."""

import hashlib
import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from service.pipeline.images.header import DecodeOptions
from service.pipeline.images.tiff import decode_tiff_page, open_tiff
from service.pipeline.picture import DecodedSamples

if TYPE_CHECKING:
    from typing_extensions import Buffer


class HashingFile(io.RawIOBase):
    """Wraps a file: hashes what is read, and remembers a read error that a codec may swallow."""

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
        """Raise the error that reading the file raised, if any."""
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
    """One open multi-page TIFF. Raises MediaUnreadable, and whatever reading the file raises."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = HashingFile(file)
        try:
            self._tiff: Any = open_tiff(cast(BinaryIO, self._file))
        finally:
            self._file.raise_read_error()

    def decode_page(self, offset: int, options: DecodeOptions) -> tuple[DecodedSamples, str]:
        """The page whose directory is at byte `offset`, and the SHA-256 (hex) of the bytes read for it."""
        self._file.digest = hashlib.sha256()
        try:
            return decode_tiff_page(self._tiff, offset, options), self._file.digest.hexdigest()
        finally:
            self._file.raise_read_error()

    def close(self) -> None:
        self._file.close()

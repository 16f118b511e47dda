"""Bytes of an open file, as a file of their own: what is sent to the object store out of a larger file."""

import io
import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class FilePart(io.RawIOBase):
    """Bytes [start, start + length) of an open file, independent of the file's own position."""

    def __init__(self, file: BinaryIO, start: int = 0, length: int | None = None) -> None:
        self._file, self._start, self._position = file, start, 0
        self._file_size = os.fstat(file.fileno()).st_size
        self.length = self._file_size - start if length is None else length

    def part(self, start: int, length: int) -> "FilePart":
        """At most `length` bytes of this part from `start` on."""
        return FilePart(self._file, self._start + start, min(length, self.length - start))

    @property
    def has_changed(self) -> bool:
        """Whether the file has become longer or shorter."""
        return os.fstat(self._file.fileno()).st_size != self._file_size

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.length - self._position)
        if wanted <= 0:
            return 0
        read = os.preadv(self._file.fileno(), [view[:wanted]], self._start + self._position)
        if read == 0:
            raise OSError("the file has become shorter")
        self._position += read
        return read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

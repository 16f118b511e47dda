"""The file of a backup: a tar archive that ends with its manifest and the SHA-256 of all before.

    tables/NAME/NNNNNN.gz   rows in PostgreSQL's text format of COPY, in parts
    objects/KEY             the objects
    index/NNNNNN.gz         JSON lines: what is known of each object, and where it is in this file
    manifest.json           versions, tables with counts and digests, and where the parts are in this file
    sha256                  of everything before it, and where the manifest begins

It is written under another name and renamed when it is complete. Memory: one part.
"""

import gzip
import hashlib
import json
import os
import secrets
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from service.private_files import FILE_MODE
from service.store.objects.file_part import FilePart

FORMAT = 1
CHUNK_BYTES = 1024 * 1024
WRITE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# A member is a header and data, both in blocks; the archive ends with two blocks of zeros.
BLOCK = tarfile.BLOCKSIZE
TAIL_BYTES = 4 * BLOCK
DIGEST_NAME, MANIFEST_NAME = "sha256", "manifest.json"


class BackupError(Exception):
    """A backup can be neither written nor restored; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where data begins in the archive, and how many bytes they are."""

    start: int
    length: int


@dataclass(slots=True)
class TableContent:
    """The rows of a table: `sha256` of their text, which is in `parts`."""

    columns: list[str]
    rows: int = 0
    sha256: str = ""
    parts: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class Manifest:
    """What a backup has. `schema` is the revision of the tables, `bucket` the service's own.

    `sequences`: name -> last value. `index`: where the lines about objects are. `objects`: which of them it has.
    """

    version: str
    schema: str
    created_at: str
    bucket: str
    objects: str
    object_count: int = 0
    object_bytes: int = 0
    tables: dict[str, TableContent] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)
    index: list[Span] = field(default_factory=list)
    format: int = FORMAT

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Raises BackupError for a newer format, ValueError, TypeError and KeyError for what is no manifest."""
        found = json.loads(text)
        if found["format"] > FORMAT:
            raise BackupError(
                f"it was made by Reelmill {found['version']}: restore it with that version or a newer one"
            )
        tables = {
            name: TableContent(**table | {"parts": _spans(table["parts"])}) for name, table in found["tables"].items()
        }
        return cls(**found | {"tables": tables, "index": _spans(found["index"])})


def _spans(found: list[Mapping[str, int]]) -> list[Span]:
    return [Span(**span) for span in found]


class ArchiveWriter:
    """Writes an archive that only this user can read. Without `finish`, nothing is left of it.

    Raises BackupError if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._temp = path, path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        self._digest, self._counts = hashlib.sha256(), dict[str, int]()
        if path.exists():
            raise BackupError(f"{path} exists already: choose another name")
        try:
            self._file = os.fdopen(os.open(self._temp, WRITE_FLAGS, FILE_MODE), "w+b")
        except OSError as error:
            raise self._to_backup_error(error) from error

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._temp.unlink(missing_ok=True)

    def add_part(self, folder: str, data: bytes) -> Span:
        """A compressed member with the next number of its folder."""
        number = self._counts[folder] = self._counts.get(folder, 0) + 1
        return self.add(f"{folder}/{number:06}.gz", gzip.compress(data, 6, mtime=0))

    def add(self, name: str, data: bytes) -> Span:
        start = self._begin(name, len(data))
        self._write(data)
        self._pad(len(data))
        return Span(start, len(data))

    async def add_stream(self, name: str, size: int, chunks: AsyncIterator[bytes]) -> Span:
        """Raises ValueError unless the chunks have this size together. Whatever is raised, nothing of them is left."""
        begin, digest = self._file.tell(), self._digest.copy()
        try:
            start = self._begin(name, size)
            async for chunk in chunks:
                self._write(chunk)
            if self._file.tell() != start + size:
                raise ValueError(f"{name} has another size")
        except BaseException:
            self._file.seek(begin)
            self._file.truncate()
            self._digest = digest
            raise
        self._pad(size)
        return Span(start, size)

    def finish(self, manifest: Manifest) -> None:
        """Write the end, flush all to disk, and give the file its name."""
        begin = self._file.tell()
        self.add(MANIFEST_NAME, json.dumps(asdict(manifest), indent=1).encode())
        self._write(_tail(self._digest.hexdigest(), begin))
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._temp.rename(self.path)
        except OSError as error:
            raise self._to_backup_error(error) from error

    def _begin(self, name: str, size: int) -> int:
        self._write(_header(name, size))
        return self._file.tell()

    def _pad(self, size: int) -> None:
        self._write(bytes(-size % BLOCK))

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._to_backup_error(error) from error
        self._digest.update(data)

    def _to_backup_error(self, error: OSError) -> BackupError:
        return BackupError(f"{self.path} cannot be written ({error.strerror})")


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, FILE_MODE
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _tail(digest: str, manifest: int) -> bytes:
    """The last member and the end of the archive: TAIL_BYTES."""
    text = f"{digest} {manifest}\n".encode()
    return (_header(DIGEST_NAME, len(text)) + text).ljust(TAIL_BYTES, b"\0")


class Archive:
    """An archive that is read; `manifest` can be trusted after `verify`. Raises BackupError if it is no archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise BackupError(f"{path} cannot be read ({error.strerror})") from error
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self.manifest = self._read_manifest()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def _read_manifest(self) -> Manifest:
        try:
            self._tail = self._read(Span(self.size - TAIL_BYTES, TAIL_BYTES))
            self._recorded, _, begin = self._tail[BLOCK:].rstrip(b"\0").decode("ascii").partition(" ")
            self._begin = int(begin)
            member = self._read(Span(self._begin, self.size - TAIL_BYTES - self._begin))
            header = tarfile.TarInfo.frombuf(member[:BLOCK], "utf-8", "surrogateescape")
            return Manifest.from_json(member[BLOCK : BLOCK + header.size])
        except BackupError as error:
            raise BackupError(f"{self.path}: {error}") from error
        except (ValueError, TypeError, KeyError, OSError, AttributeError, tarfile.TarError) as error:
            raise BackupError(f"{self.path} is cut, damaged, or no backup: take another one") from error

    def verify(self) -> Iterator[int]:
        """Read everything; yields the bytes that were read. Raises BackupError if one of them is not as written."""
        digest, position = hashlib.sha256(), 0
        while position < self.size - TAIL_BYTES:
            chunk = self._read(Span(position, min(CHUNK_BYTES, self.size - TAIL_BYTES - position)))
            digest.update(chunk)
            position += len(chunk)
            yield position
        if self._tail != _tail(digest.hexdigest(), self._begin):
            raise BackupError(f"{self.path} is damaged: other bytes than were written. Take another one")

    def read_part(self, span: Span) -> bytes:
        """What `ArchiveWriter.add_part` got."""
        return gzip.decompress(self._read(span))

    def open_part(self, span: Span) -> FilePart:
        """A member as a file."""
        return FilePart(self._file, span.start, span.length)

    def index(self) -> Iterator[list[dict[str, Any]]]:
        """What is known of the objects, a part of the index at a time."""
        for span in self.manifest.index:
            yield [json.loads(line) for line in self.read_part(span).splitlines()]

    def _read(self, span: Span) -> bytes:
        data = os.pread(self._file.fileno(), span.length, span.start)
        if len(data) < span.length:
            raise BackupError(f"{self.path} is cut: take another one")
        return data

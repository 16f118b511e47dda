"""The folder driver of the object store, for one machine. Keys are paths below <root>/<bucket>/.

Two differences from S3: no object can be stored below another ('a' and 'a/b'), and symbolic links inside of a bucket's
folder are neither listed nor followed, so that no key leads out of it (the bucket's folder itself may be a link).
"""

import asyncio
import errno
import mimetypes
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from service.plan.render_plan import ObjectRef
from service.private_files import FILE_MODE, FOLDER_MODE
from service.scratch import FULL_ERRORS
from service.store.objects.file_part import FilePart
from service.store.objects.object_store import (
    ObjectChanged,
    ObjectInfo,
    ObjectNotFound,
    ObjectStoreError,
    ObjectStoreFull,
    SkippedEntry,
    UnfinishedUpload,
)

Found = TypeVar("Found", ObjectInfo, SkippedEntry)
CHUNK_BYTES = 1024 * 1024
PAGE_SIZE = 1000
# The limits of file names on Linux and of keys in S3.
MAX_NAME_BYTES, MAX_KEY_BYTES = 255, 1024
TEMP_FOLDER = ".tmp"
# O_NONBLOCK: opening a named pipe must not block; it has no effect on regular files.
OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".ndjson": "application/x-ndjson",
    ".m3u8": "application/vnd.apple.mpegurl",
}


class FileObjectStore:
    """Objects as files: each is written to a temporary file, flushed to disk, then renamed."""

    def __init__(self, root: Path, bucket: str) -> None:
        self.root, self.bucket = root, bucket
        self._temp_folder = root / TEMP_FOLDER

    async def check(self) -> None:
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        folder = self.path(ObjectRef(self.bucket, "x")).parent
        try:
            _create_folder(folder)
            _create_folder(self._temp_folder)
            probe = self._temp_folder / secrets.token_hex(12)
            try:
                probe.write_bytes(b"\0")  # a full or read-only disk refuses this already, without an fsync
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise ObjectStoreError(f"REELMILL_HOME: {self.root} cannot be written ({error.strerror})") from error

    async def free_bytes(self) -> int | None:
        try:
            return (await asyncio.to_thread(shutil.disk_usage, self.root)).free
        except OSError:
            return None

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:
        return await asyncio.to_thread(self._write_atomically, ref, lambda file: file.write(data))

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:
        return await asyncio.to_thread(self._copy_file, ref, path)

    def _copy_file(self, ref: ObjectRef, path: Path) -> ObjectInfo:
        with path.open("rb") as source:
            return self._write_atomically(ref, lambda file: shutil.copyfileobj(source, file, CHUNK_BYTES))

    async def restore(self, source: FilePart, info: ObjectInfo) -> ObjectInfo:
        """The etag of a file has its time: with the same time it has the same etag."""
        ref, modified_ns = ObjectRef(self.bucket, info.key), _modified_ns(info)

        def copy(file: BinaryIO) -> None:
            shutil.copyfileobj(source, file, CHUNK_BYTES)

        return await asyncio.to_thread(self._write_atomically, ref, copy, modified_ns)

    def _write_atomically(
        self, ref: ObjectRef, write: Callable[[BinaryIO], object], modified_ns: int | None = None
    ) -> ObjectInfo:
        """`write` fills the file. When this returns, the object and its name are on disk."""
        path, temp_file = self.path(ref), self._temp_folder / secrets.token_hex(12)
        try:
            _create_folder(self._temp_folder)
            with os.fdopen(os.open(temp_file, WRITE_FLAGS, FILE_MODE), "wb") as file:
                write(file)
                file.flush()
                # The kernel's own time has ticks of 4 ms: too coarse for etags.
                now = time.time_ns() if modified_ns is None else modified_ns
                os.utime(file.fileno(), ns=(now, now))
                os.fsync(file.fileno())
            status = temp_file.stat()
            _create_folder(path.parent)
            temp_file.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise _to_write_error(error, ref) from error
        finally:
            with suppress(OSError):
                temp_file.unlink(missing_ok=True)
        return _to_info(ref.key, status)

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = "") -> bytes:
        return await asyncio.to_thread(self._read_range, ref, start, stop, etag)

    def _read_range(self, ref: ObjectRef, start: int, stop: int | None, etag: str) -> bytes:
        with self.open(ref) as file:
            require_etag(file, etag)
            try:
                file.seek(start)
                data = file.read() if stop is None else file.read(max(stop - start, 0))
            except OSError as error:
                raise _to_read_error(error, ref) from error
            require_etag(file, etag)
            return data

    async def stream(
        self, ref: ObjectRef, start: int = 0, stop: int | None = None, etag: str = ""
    ) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(self.open, ref) as file:
            file.seek(start)
            while stop is None or start < stop:
                try:
                    chunk = await asyncio.to_thread(
                        file.read, CHUNK_BYTES if stop is None else min(CHUNK_BYTES, stop - start)
                    )
                except OSError as error:
                    raise _to_read_error(error, ref) from error
                require_etag(file, etag)
                if not chunk:
                    return
                start += len(chunk)
                yield chunk

    def open(self, ref: ObjectRef) -> BinaryIO:
        """The object's file, opened for reading. Raises ObjectNotFound."""
        try:
            file = os.fdopen(os.open(self.path(ref), OPEN_FLAGS), "rb")
        except OSError as error:
            raise _to_read_error(error, ref) from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise ObjectNotFound(f"there is no object {ref.key}")
        return file

    async def head(self, ref: ObjectRef) -> ObjectInfo:
        return await asyncio.to_thread(self._head, ref)

    def _head(self, ref: ObjectRef) -> ObjectInfo:
        try:
            status = self.path(ref).lstat()
        except OSError as error:
            raise _to_read_error(error, ref) from error
        if not stat.S_ISREG(status.st_mode):
            raise ObjectNotFound(f"there is no object {ref.key}")
        return _to_info(ref.key, status)

    async def list(self, bucket: str, prefix: str, after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        folder = self.path(ObjectRef(bucket, "x")).parent
        if not await asyncio.to_thread(folder.is_dir):
            raise ObjectNotFound(f"there is no bucket {bucket}")
        entries = self._walk(bucket, prefix, partial(_walk_files, after=after))
        while page := await asyncio.to_thread(lambda: list(islice(entries, PAGE_SIZE))):
            yield page

    def _walk(self, bucket: str, prefix: str, walk: Callable[[Path, str, str], Iterator[Found]]) -> Iterator[Found]:
        """What `walk` finds, read folder by folder from the deepest one that the prefix names."""
        parent = prefix.rpartition("/")[0]
        try:
            top = self.path(ObjectRef(bucket, f"{parent}/x" if parent else "x")).parent
        except ObjectStoreError:
            return  # no valid key has this prefix
        try:
            yield from walk(top, f"{parent}/" if parent else "", prefix)
        except OSError as error:
            raise _to_read_error(error, ObjectRef(bucket, prefix)) from error

    async def list_skipped(self, bucket: str, prefix: str) -> AsyncIterator[Sequence[SkippedEntry]]:
        entries = self._walk(bucket, prefix, _find_skipped)
        while page := await asyncio.to_thread(lambda: list(islice(entries, PAGE_SIZE))):
            yield page

    async def list_unfinished(self, before: datetime) -> AsyncIterator[Sequence[UnfinishedUpload]]:
        """Temporary files that were last written to before this time."""
        yield await asyncio.to_thread(_list_temp_files, self._temp_folder, before)

    async def abort(self, upload: UnfinishedUpload) -> None:
        await asyncio.to_thread((self._temp_folder / upload.id).unlink, missing_ok=True)

    async def delete(self, ref: ObjectRef) -> None:
        try:
            await asyncio.to_thread(self.path(ref).unlink)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            raise _to_read_error(error, ref) from error

    async def presign_get(self, ref: ObjectRef, seconds: int) -> str | None:
        return None

    async def presign_put(self, ref: ObjectRef, seconds: int, size: int, content_type: str) -> str | None:
        return None

    async def close(self) -> None:
        """Nothing is kept open."""

    def path(self, ref: ObjectRef) -> Path:
        """The object's file. Raises ObjectStoreError for a key that could lead out of the bucket's folder."""
        if ref.bucket.startswith(".") or "/" in ref.bucket:
            raise ObjectStoreError("not the name of a bucket: it contains a slash or begins with a dot")
        parts = ref.key.split("/")
        _require_valid_names(ref.bucket, *parts)
        folder = f"{self.root}/{ref.bucket}"
        for part in parts[:-1]:
            folder = f"{folder}/{part}"
            if os.path.islink(folder):  # noqa: PTH114 (hot path)
                raise ObjectStoreError("the key contains a symbolic link, which is not followed")
        return Path(folder, parts[-1])


def _require_valid_names(*names: str) -> None:
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise ObjectStoreError("not a valid key: empty, '.' and '..' parts and NUL are not allowed")
    try:
        sizes = [len(name.encode()) for name in names]
    except UnicodeEncodeError as error:
        raise ObjectStoreError("not a valid key: it is not Unicode text") from error
    if max(sizes) > MAX_NAME_BYTES:
        raise ObjectStoreError(f"not a valid key: a part is longer than {MAX_NAME_BYTES} bytes")
    if sum(sizes[1:]) + len(sizes) - 2 > MAX_KEY_BYTES:
        raise ObjectStoreError(f"not a valid key: it is longer than {MAX_KEY_BYTES} bytes")


def _create_folder(folder: Path) -> None:
    """Create the folder and its parents, each flushed to disk."""
    if not folder.is_dir():
        _create_folder(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _list_temp_files(folder: Path, before: datetime) -> Sequence[UnfinishedUpload]:
    """What killed processes have left while writing, and what others write if `before` is not long ago."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if modified < before:
                found.append(UnfinishedUpload(f"{TEMP_FOLDER}/{path.name}", path.name, modified))
    return found


def _walk_files(top: Path, base: str, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
    """Depth first without recursion; only listings of the folders between `top` and the current one are in memory."""
    root, key_base = os.fsencode(top) + b"/", base.encode()
    wanted, start = prefix.encode(errors="surrogatepass"), after.encode(errors="surrogatepass")
    stack = [(b"", iter(_list_folder(root)))]
    while stack:
        parent, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            continue
        path = parent + name
        key = key_base + path
        if name.endswith(b"/") and key.startswith(wanted[: len(key)]):
            if key >= start[: len(key)]:
                stack.append((path, iter(_list_folder(root + path))))
        elif key.startswith(wanted) and key > start:
            with suppress(FileNotFoundError, UnicodeDecodeError):  # deleted meanwhile; a name that is not UTF-8
                status = os.lstat(root + path)
                if stat.S_ISREG(status.st_mode):
                    yield _to_info(key.decode(), status)


def _find_skipped(top: Path, base: str, prefix: str) -> Iterator[SkippedEntry]:
    """What `_walk_files` leaves out without a word, except what was deleted meanwhile."""
    root, key_base, wanted = os.fsencode(top) + b"/", base.encode(), prefix.encode(errors="surrogatepass")
    pending = [b""]
    while pending:
        parent = pending.pop()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root + parent) as entries:
            for entry in entries:
                key = key_base + parent + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if (key + b"/").startswith(wanted[: len(key) + 1]):
                        pending.append(parent + entry.name + b"/")
                elif key.startswith(wanted) and (kind := _skipped_kind(entry, key)):
                    yield SkippedEntry(key.decode(errors="backslashreplace"), kind)


def _skipped_kind(entry: os.DirEntry[bytes], key: bytes) -> Literal["link", "special file", "name not in UTF-8"] | None:
    if not entry.is_file(follow_symlinks=False):
        return "link" if entry.is_symlink() else "special file"
    try:
        key.decode()
    except UnicodeDecodeError:
        return "name not in UTF-8"
    return None


def _list_folder(folder: bytes) -> list[bytes]:
    """Sorted as keys: folder names get their slash, because 'a-b' sorts before 'a/b'."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name + b"/" if entry.is_dir(follow_symlinks=False) else entry.name
                for entry in entries
                if not entry.is_symlink()
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def file_etag(status: os.stat_result) -> str:
    """The etag of a file. A file that is overwritten in place gets another one, as one that is replaced; not if its
    size is the same and its time is set back."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def _modified_ns(info: ObjectInfo) -> int | None:
    """The time in an etag that `file_etag` made; None for those of other stores."""
    time_hex, _, size_hex = info.etag.partition("-")
    if size_hex != f"{info.size:x}" or not re.fullmatch("[0-9a-f]{1,16}", time_hex):
        return None
    return int(time_hex, 16)


def require_etag(file: BinaryIO, etag: str) -> os.stat_result:
    """The status of an open file. Raises ObjectChanged unless it has this etag, or `etag` is empty.

    Before and after a read: then the bytes are those of the etag, also if somebody wrote into the file meanwhile.
    """
    status = os.fstat(file.fileno())
    if etag and (found := file_etag(status)) != etag:
        raise ObjectChanged(found, etag)
    return status


def _to_info(key: str, status: os.stat_result) -> ObjectInfo:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    suffix = os.path.splitext(key)[1].lower()  # noqa: PTH122 (hot path)
    kind = CONTENT_TYPES.get(suffix) or mimetypes.guess_type(f"x{suffix}")[0] or "application/octet-stream"
    return ObjectInfo(key, status.st_size, file_etag(status), modified, kind)


def _to_write_error(error: OSError, ref: ObjectRef) -> ObjectStoreError:
    if error.errno in FULL_ERRORS:
        return ObjectStoreFull("no space left in REELMILL_HOME: free some; no partial object was stored")
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY):
        return ObjectStoreError(f"{ref.key} cannot be stored: in a folder, no object can be stored below another")
    return ObjectStoreError(f"REELMILL_HOME: the object cannot be written ({error.strerror})")


def _to_read_error(error: OSError, ref: ObjectRef) -> ObjectStoreError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return ObjectNotFound(f"there is no object {ref.key}")
    return ObjectStoreError(f"REELMILL_HOME: the object cannot be used ({error.strerror})")

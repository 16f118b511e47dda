"""The folder driver of the object store: one machine, no server. Keys are paths below root/<bucket>/."""

import asyncio
import errno
import mimetypes
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from service.plan.render_plan import ObjectRef
from service.store.objects import ObjectInfo, ObjectMissing, ObjectStoreError

CHUNK = 1024 * 1024
PAGE = 1000
TYPES = {".mp4": "video/mp4", ".ndjson": "application/x-ndjson", ".m3u8": "application/vnd.apple.mpegurl"}


class FileObjectStore:
    """Objects as files: written beside their place, flushed to disk, then renamed into it."""

    def __init__(self, root: Path, bucket: str) -> None:
        self.root, self.bucket = root, bucket
        self._drafts = root / ".drafts"

    async def check(self) -> None:
        try:
            await asyncio.to_thread(self._check)
        except OSError as error:
            raise ObjectStoreError(f"REELMILL_HOME: {self.root} cannot be written ({error.strerror})") from error

    def _check(self) -> None:
        self._drafts.mkdir(parents=True, exist_ok=True)
        (self.root / self.bucket).mkdir(exist_ok=True)
        probe = self._drafts / secrets.token_hex(8)
        probe.write_bytes(b"")
        probe.unlink()

    async def put(self, ref: ObjectRef, data: bytes, content_type: str) -> ObjectInfo:  # noqa: ARG002 (by extension)
        return await asyncio.to_thread(self._publish, ref, lambda file: _write(file, data))

    async def put_file(self, ref: ObjectRef, path: Path, content_type: str) -> ObjectInfo:  # noqa: ARG002
        def copy(file: BinaryIO) -> None:
            with path.open("rb") as source:
                shutil.copyfileobj(source, file, CHUNK)

        return await asyncio.to_thread(self._publish, ref, copy)

    def _publish(self, ref: ObjectRef, fill: Callable[[BinaryIO], None]) -> ObjectInfo:
        place = self.path(ref)
        draft = self._drafts / secrets.token_hex(12)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with _made(draft) as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(place)
            _sync_folder(place.parent)
            return _info(ref.key, place.stat())
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise _explained(error, ref) from error

    async def get(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> bytes:
        return await asyncio.to_thread(self.read, ref, start, stop)

    def read(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> bytes:
        """The same without an event loop: the slot's hot path."""
        try:
            with self.path(ref).open("rb") as file:
                file.seek(start)
                return file.read() if stop is None else file.read(max(stop - start, 0))
        except OSError as error:
            raise _explained(error, ref) from error

    async def stream(self, ref: ObjectRef, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self.path(ref).open, "rb")
        except OSError as error:
            raise _explained(error, ref) from error
        with file:
            file.seek(start)
            left = (stop - start) if stop is not None else None
            while left is None or left > 0:
                chunk = await asyncio.to_thread(file.read, CHUNK if left is None else min(CHUNK, left))
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk

    async def head(self, ref: ObjectRef) -> ObjectInfo:
        try:
            return _info(ref.key, await asyncio.to_thread(self._stat, ref))
        except OSError as error:
            raise _explained(error, ref) from error

    def _stat(self, ref: ObjectRef) -> os.stat_result:
        path = self.path(ref)
        if path.is_dir():
            raise FileNotFoundError(errno.ENOENT, "a folder is no object")
        return path.stat()

    async def list(self, bucket: str, prefix: str) -> AsyncIterator[list[ObjectInfo]]:
        entries = _walk(self.path(ObjectRef(bucket, "x")).parent, prefix)
        while page := await asyncio.to_thread(_take, entries):
            yield page

    async def delete(self, ref: ObjectRef) -> None:
        await asyncio.to_thread(self.path(ref).unlink, missing_ok=True)

    async def presign_get(self, ref: ObjectRef, seconds: int) -> str | None:  # noqa: ARG002
        return None

    async def close(self) -> None:
        """Nothing is held open."""

    def path(self, ref: ObjectRef) -> Path:
        """Where the object lies. Raises ObjectStoreError for a key that could leave the bucket's folder."""
        parts = ref.key.split("/")
        bad = "\0" in ref.key or "\\" in ref.key or any(part in ("", ".", "..") for part in parts)
        if bad or ref.bucket in ("", ".", "..") or "/" in ref.bucket or ref.bucket.startswith("."):
            raise ObjectStoreError("this key cannot be an object's: empty, '.' and '..' parts are refused")
        if any(len(part.encode()) > 255 for part in parts):
            raise ObjectStoreError("a part of the key is longer than 255 bytes")
        return self.root.joinpath(ref.bucket, *parts)


def _made(draft: Path) -> BinaryIO:
    draft.parent.mkdir(parents=True, exist_ok=True)
    return draft.open("xb")


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(bucket: Path, prefix: str) -> Iterator[ObjectInfo]:
    """Objects in the order of their keys; folder by folder, so a large tree is never held whole."""
    folder, _, _ = prefix.rpartition("/")
    start = bucket.joinpath(*folder.split("/")) if folder else bucket
    if ".." in folder.split("/") or not start.is_dir():
        return
    for info in _below(start, f"{folder}/" if folder else ""):
        if info.key.startswith(prefix):
            yield info


def _below(folder: Path, base: str) -> Iterator[ObjectInfo]:
    """A folder sorts as its name with a slash: 'a-b' comes before 'a/b'."""
    entries = sorted(os.scandir(folder), key=lambda entry: (entry.name + ("/" if entry.is_dir() else "")).encode())
    for entry in entries:
        if entry.is_dir():
            yield from _below(Path(entry.path), f"{base}{entry.name}/")
        else:
            yield _info(base + entry.name, entry.stat())


def _take(entries: Iterator[ObjectInfo]) -> list[ObjectInfo]:
    return list(islice(entries, PAGE))


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    suffix = Path(key).suffix.lower()
    kind = TYPES.get(suffix) or mimetypes.guess_type(key)[0] or "application/octet-stream"
    return ObjectInfo(key, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}", modified, kind)


def _explained(error: OSError, ref: ObjectRef) -> ObjectStoreError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return ObjectMissing(f"there is no object {ref.key}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ObjectStoreError("no space left in REELMILL_HOME: free some, nothing was half written")
    return ObjectStoreError(f"REELMILL_HOME: the object cannot be used ({os.strerror(error.errno or 0)})")

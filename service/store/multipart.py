"""A file to S3 in parts, each read as it is sent, never held; what fails or is called off leaves nothing."""

import asyncio
import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from service.store.objects import ObjectStoreError

if TYPE_CHECKING:
    from typing_extensions import Buffer

PART_BYTES = 16 * 1024 * 1024
"""Bytes of a part; a shorter file is sent whole."""
MAX_PARTS = 10_000
CONCURRENT_PARTS = 4


class FilePart(io.RawIOBase):
    """Bytes [start, start + length) of an open file, which others may read at the same time."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        self._descriptor, self._start, self.length = descriptor, start, length
        self._position = 0

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.length - self._position)
        if wanted <= 0:
            return 0
        read = os.preadv(self._descriptor, [view[:wanted]], self._start + self._position)
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


async def upload_in_parts(client: Any, target: dict[str, str], content_type: str, file: BinaryIO, size: int) -> None:
    """The whole upload; `target` is its Bucket and Key. Raises ObjectStoreError when the file changed meanwhile."""
    beginning = asyncio.ensure_future(client.create_multipart_upload(**target, ContentType=content_type))
    try:
        begun = await asyncio.shield(beginning)
        target = target | {"UploadId": begun["UploadId"]}
        parts = await _upload_parts(client, target, file, size)
        await client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    except BaseException:
        await asyncio.shield(_abort_upload(client, target, beginning))
        raise


async def _upload_parts(client: Any, target: dict[str, str], file: BinaryIO, size: int) -> list[dict[str, Any]]:
    length, gate = max(PART_BYTES, -(-size // MAX_PARTS)), asyncio.Semaphore(CONCURRENT_PARTS)

    async def one(number: int, start: int) -> dict[str, Any]:
        async with gate:
            part = FilePart(file.fileno(), start, min(length, size - start))
            answer = await client.upload_part(**target, PartNumber=number, Body=part)
            return {"PartNumber": number, "ETag": answer["ETag"]}

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(n, start)) for n, start in enumerate(range(0, size, length), 1)]
    except ExceptionGroup as failed:
        _require_unchanged(file, size)
        raise failed.exceptions[0] from None
    _require_unchanged(file, size)
    return [task.result() for task in tasks]


def _require_unchanged(file: BinaryIO, size: int) -> None:
    if os.fstat(file.fileno()).st_size != size:
        raise ObjectStoreError("the file changed while it was sent")


async def _abort_upload(client: Any, target: dict[str, str], beginning: "asyncio.Future[dict[str, Any]]") -> None:
    """Also an upload whose beginning we were called away from; the error that led here says more than one of this."""
    with suppress(ClientError, BotoCoreError, OSError):
        begun = await beginning
        await client.abort_multipart_upload(**target | {"UploadId": begun["UploadId"]})

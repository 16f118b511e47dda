"""A source video as a seekable file over the slot's ranged reads."""

import io
from collections import OrderedDict
from concurrent.futures import Future
from typing import Any, Protocol

from service.plan.render_plan import ObjectRef
from service.store.objects import ObjectStoreError, ReadResult
from service.worker.frame_reads import ByteRange

SOURCE_BLOCK_BYTES, MAX_CACHED_BLOCKS = 2 * 1024 * 1024, 4


class RangeReader(Protocol):
    """Starts a ranged read."""

    def submit(self, ref: ObjectRef, span: ByteRange | None, limit: int) -> "Future[ReadResult]": ...


class SourceVideoFile(io.RawIOBase):
    """A read-only file over ranged reads; a few blocks are kept, and the next one is fetched ahead."""

    def __init__(self, fetcher: RangeReader, ref: ObjectRef, first_part: ReadResult) -> None:
        super().__init__()
        self._fetcher, self._ref, self._size, self._etag = fetcher, ref, first_part.size, first_part.etag
        self._position = 0
        self._blocks: OrderedDict[int, Future[ReadResult]] = OrderedDict()
        self._blocks[0] = Future()
        self._blocks[0].set_result(first_part)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size:
            return 0
        number, offset = divmod(self._position, SOURCE_BLOCK_BYTES)
        part = memoryview(self._read_block(number))[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _read_block(self, number: int) -> bytes:
        forward = number - 1 in self._blocks
        future = self._start_block(number)
        if forward and (number + 1) * SOURCE_BLOCK_BYTES < self._size:
            self._start_block(number + 1)
        try:
            part = future.result()
        except ObjectStoreError:
            self._blocks.pop(number, None)
            raise
        if part.etag != self._etag or len(part.data) != min(
            SOURCE_BLOCK_BYTES, self._size - number * SOURCE_BLOCK_BYTES
        ):
            raise ObjectStoreError("the source video changed while it was read")
        return part.data

    def _start_block(self, number: int) -> "Future[ReadResult]":
        if number not in self._blocks:
            start = number * SOURCE_BLOCK_BYTES
            span = (start, min(start + SOURCE_BLOCK_BYTES, self._size))
            self._blocks[number] = self._fetcher.submit(self._ref, span, SOURCE_BLOCK_BYTES)
        self._blocks.move_to_end(number)
        if len(self._blocks) > MAX_CACHED_BLOCKS:
            self._blocks.popitem(last=False)[1].cancel()
        return self._blocks[number]

    def close(self) -> None:
        for future in self._blocks.values():
            future.cancel()
        self._blocks.clear()
        super().close()

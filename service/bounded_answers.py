"""Bounds what a server may answer to a request of ours: so many bytes, and none of them compressed."""

from collections.abc import AsyncIterator
from typing import Any

import httpx

IDENTITY = "identity"


class AnswerRefused(httpx.DecodingError):
    """The answer is too long or compressed. The text says which, and quotes nothing of it."""


class _BoundedStream(httpx.AsyncByteStream):
    """The bytes of an answer, up to `limit`; then it raises AnswerRefused."""

    def __init__(self, stream: httpx.AsyncByteStream, limit: int) -> None:
        self._stream, self._limit = stream, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > self._limit:
                raise AnswerRefused(f"it is longer than {self._limit // 1024} KiB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def bounded_answers(limit: int) -> dict[str, Any]:
    """Options of an `httpx.AsyncClient`: it reads at most `limit` bytes of an answer, also of one that is an error.

    Reading more raises AnswerRefused, and so does an answer that is compressed although we accept none.
    """

    async def bound(response: httpx.Response) -> None:
        if response.headers.get("content-encoding", IDENTITY).strip().lower() != IDENTITY:
            raise AnswerRefused("it is compressed, which was not asked for")
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, limit)

    return {"headers": {"accept-encoding": IDENTITY}, "event_hooks": {"response": [bound]}}

"""Sends requests: what may be repeated is repeated, what was refused is an error, lists are followed page by page."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from service.client.addresses import Address
from service.client.errors import BrokenOff, Unreachable, error_of
from service.client.operations import OPERATIONS
from service.client.requests import Request, fill_path, json_of, list_of

# Whatever else the service answers, it has not done what was asked: the same can be asked again.
NOT_DONE = (429, 503)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
# For a service that is being restarted; and for one that says itself how long to wait.
PATIENCE_S, BUSY_S = 20.0, 300.0
# For one that is busy and does not say how long.
BUSY_ATTEMPTS, MAX_DIGITS = 4, 5
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5.0, 60.0


class Transport:
    """The connections to one service."""

    def __init__(
        self, address: Address, transport: httpx.AsyncBaseTransport | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        """`patience_s` is how long a service that cannot be reached is waited for."""
        self.address, self._patience_s = address, patience_s
        self._transport = transport
        self._client: tuple[int, httpx.AsyncClient] | None = None

    @property
    def http(self) -> httpx.AsyncClient:
        """The connections of this process: a forked one must not write into those of its parent."""
        if self._client is None or self._client[0] != os.getpid():
            self._client = (
                os.getpid(),
                httpx.AsyncClient(
                    base_url=self.address.url,
                    headers={"Authorization": f"Bearer {self.address.token}"},
                    timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                    transport=self._transport,
                    trust_env=False,
                ),
            )
        return self._client[1]

    async def call(self, operation: str, *, body: Any = None, headers: Any = None, **parameters: Any) -> Any:
        """The JSON that an operation of the API answers, by the name that it has in `/openapi.json`.

        Parameters in the path and in the query are given by name; None is left out. Raises Refused, Unreachable.
        """
        method, path = OPERATIONS[operation]
        path, query = fill_path(path, parameters)
        return json_of(await self.send(Request(method, path, query, body, headers=headers or {})))

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> httpx.Response:
        """A successful response, which has been read. Raises Refused, Unreachable."""
        return await self.send(Request("GET", path, query))

    async def send(self, request: Request) -> httpx.Response:
        """A successful response, which has been read. Raises Refused, Unreachable."""
        response = await self.attempt(request)
        if not response.is_success:
            raise error_of(response)
        return response

    async def attempt(self, request: Request) -> httpx.Response:
        """Any response but those that ask to wait, for which it waits. Raises Unreachable."""
        waiting = _Waiting(self._patience_s, is_repeatable=request.is_repeatable)
        while True:
            content = request.content() if callable(request.content) else request.content
            try:
                response = await self.http.request(
                    request.method,
                    request.path,
                    params=_clean(request.query),
                    json=request.body,
                    content=content,
                    headers=dict(request.headers),
                )
            except httpx.TransportError as error:
                await waiting.after_error(error)
                continue
            if response.status_code not in NOT_DONE or not await waiting.after_response(response):
                return response

    async def pages(self, path: str, query: Mapping[str, Any] | None = None) -> AsyncIterator[list[dict[str, Any]]]:
        """The pages of a list. Raises Refused, Unreachable."""
        parameters = query
        while True:
            response = await self.get(path, parameters)
            yield list_of(response)
            following = response.links.get("next", {}).get("url")
            if following is None:
                return
            path, parameters = following, None

    async def rows(self, path: str, query: Mapping[str, Any] | None = None) -> AsyncIterator[dict[str, Any]]:
        async for page in self.pages(path, query):
            for row in page:
                yield row

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[httpx.Response]:
        """A response whose body has not been read. Raises Refused, and BrokenOff also while it is read."""
        try:
            async with self.http.stream("GET", path, headers=dict(headers or {}), follow_redirects=True) as response:
                if not response.is_success:
                    await response.aread()
                    raise error_of(response)
                yield response
        except httpx.TransportError as error:
            raise BrokenOff(f"the service broke the connection off ({type(error).__name__})") from error

    async def close(self) -> None:
        await self.http.aclose()


class _Waiting:
    """How long one request has been waited for."""

    def __init__(self, patience_s: float, *, is_repeatable: bool) -> None:
        self._patience_s, self._is_repeatable = patience_s, is_repeatable
        self._started, self._attempts = time.monotonic(), 0

    async def after_error(self, error: httpx.TransportError) -> None:
        """Wait before another attempt. Raises Unreachable if there is to be none."""
        was_sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        if (was_sent and not self._is_repeatable) or self._seconds() > self._patience_s:
            what = "broke the connection off" if was_sent else "cannot be reached"
            hint = "is it running, is REELMILL_URL correct?"
            raise Unreachable(f"the service {what} ({type(error).__name__}): {hint}") from error
        await self._pause(0.0)

    async def after_response(self, response: httpx.Response) -> bool:
        """Wait as long as the service asks; False if that would be too long, or it does not ask to come back."""
        wanted = response.headers.get("Retry-After", "")
        if not wanted.isdecimal() or len(wanted) > MAX_DIGITS:
            if not self._is_repeatable or self._attempts >= BUSY_ATTEMPTS:
                return False
            await self._pause(0.0)
            return True
        if self._seconds() + float(wanted) > BUSY_S:
            return False
        await self._pause(float(wanted))
        return True

    async def _pause(self, asked_s: float) -> None:
        grown = min(FIRST_PAUSE_S * 2 ** min(self._attempts, 10), LONGEST_PAUSE_S)
        self._attempts += 1
        await asyncio.sleep(asked_s or grown)

    def _seconds(self) -> float:
        return time.monotonic() - self._started


def _clean(query: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None for no query: an empty one would remove that of the address of a next page."""
    if not query:
        return None
    return {name: _text(value) for name, value in query.items() if value is not None}


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value

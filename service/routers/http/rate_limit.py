"""Limits per subject and client address: requests in a time, requests and event streams at once. Each process counts
on its own."""

import ipaddress
import math
import re
import time
from collections import Counter
from functools import lru_cache

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceUnavailable, TooManyRequests
from service.routers.settings import HttpSettings, parse_rate
from service.telemetry.metrics import EVENT_STREAMS

EVENT_PATHS = re.compile(r"/api/videos/([^/]+/)?events")
# Streams end with their renders; a client that waits this long does not ask in vain each time.
RETRY_STREAM = {"Retry-After": "10"}
# Networks as `client_network` writes them.
LOOPBACK = ("127.", "::/64")
RETRY_REQUEST = {"Retry-After": "1"}


class RateLimit:
    """Limits the requests of each authenticated subject and adds RateLimit headers to their responses
    (draft-ietf-httpapi-ratelimit-headers-10). Raises TooManyRequests."""

    def __init__(self, app: ASGIApp, rate: str) -> None:
        self.app, self.rate = app, parse_rate(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = scope.get("state", {}).get("identity")
        if self.rate is None or identity is None or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = await self._count_request(self.rate, identity.subject)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    async def _count_request(self, rate: RateLimitItem, subject: str) -> dict[str, str]:
        """Count one request and return the RateLimit headers. Raises TooManyRequests."""
        allowed = await self._limiter.hit(rate, subject)
        window = await self._limiter.get_window_stats(rate, subject)
        wait = max(1, math.ceil(window.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"subject";q={rate.amount};w={rate.get_expiry()}',
            "RateLimit": f'"subject";r={window.remaining};t={wait}',
        }
        if not allowed:
            detail = f"at most {rate} are served to one subject (REELMILL_RATE_LIMIT): wait {wait} s"
            raise TooManyRequests(detail, headers=headers | {"Retry-After": str(wait)})
        return headers


@lru_cache(maxsize=4096)
def client_network(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the 64 bits of an IPv6 address that one customer gets."""
    try:
        parsed = ipaddress.ip_address(address[:64].partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class AddressLimit:
    """Limits the requests that one client address has under way: the address that a trusted proxy forwards, as all
    connections of a proxy have its own. This machine's addresses are not limited. Raises TooManyRequests."""

    def __init__(self, app: ASGIApp, http: HttpSettings) -> None:
        self.app, self.limit = app, http.connections_per_address
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope.get("client"):
            await self.app(scope, receive, send)
            return
        network = client_network(scope["client"][0])
        if network.startswith(LOOPBACK):
            await self.app(scope, receive, send)
            return
        if self._under_way[network] >= self.limit:
            detail = f"your address has {self.limit} requests under way: wait until some are answered"
            raise TooManyRequests(detail, headers=RETRY_REQUEST)
        self._under_way[network] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._under_way[network] -= 1
            if not self._under_way[network]:
                del self._under_way[network]


class EventStreamLimit:
    """Limits the event streams of one subject, and of all. Raises TooManyRequests, ServiceUnavailable."""

    def __init__(self, app: ASGIApp, http: HttpSettings) -> None:
        self.app, self.limit, self.limit_of_subject = app, http.max_event_streams, http.event_streams_per_subject
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = scope.get("state", {}).get("identity")
        if scope["type"] != "http" or identity is None or EVENT_PATHS.fullmatch(scope["path"]) is None:
            await self.app(scope, receive, send)
            return
        self._require_room(identity.subject)
        self._count(identity.subject, 1)
        try:
            await self.app(scope, receive, send)
        finally:
            self._count(identity.subject, -1)

    def _require_room(self, subject: str) -> None:
        if self._open[subject] >= self.limit_of_subject:
            detail = f"you have {self.limit_of_subject} event streams open: close some, or ask for the status instead"
            raise TooManyRequests(detail, headers=RETRY_STREAM)
        if self._open.total() >= self.limit:
            detail = "too many event streams are open: ask for the status instead"
            raise ServiceUnavailable(detail, headers=RETRY_STREAM)

    def _count(self, subject: str, change: int) -> None:
        self._open[subject] += change
        if not self._open[subject]:
            del self._open[subject]
        EVENT_STREAMS.set(self._open.total())

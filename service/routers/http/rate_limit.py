"""Fixed-window rate limit per subject. Each process counts on its own."""

import math
import time

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import TooManyRequests
from service.routers.settings import parse_rate


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

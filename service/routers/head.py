"""HEAD, wherever GET is: the same status and headers, and no content (RFC 9110, 9.3.2)."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Pure ASGI, inside of the access log, which is told what was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        scope["method"], answer = "GET", _HeadResponse(receive, send)
        try:
            await self.app(scope, answer.receive, answer.send)
        finally:
            scope["method"] = "HEAD"


class _HeadResponse:
    """Lets the beginning of an answer through and ends it there; to the route the client has then gone away, so that
    no stream goes on for nobody."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._started = False

    async def receive(self) -> Message:
        return {"type": "http.disconnect"} if self._started else await self._receive()

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.start" or self._started:
            return
        self._started = True
        await self._send(message)
        await self._send({"type": "http.response.body", "body": b""})

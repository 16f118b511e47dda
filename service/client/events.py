"""Event streams (WHATWG HTML, 9.2): they go on where they broke off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.client.errors import BrokenOff, Refused, Unreachable

if TYPE_CHECKING:
    from service.client.transport import Transport

# So often in a row without a line.
MAX_RECONNECTS, RECONNECT_S = 30, 1.0
# What a service that is busy, or a proxy before one that is restarted, answers.
RESTARTING = (429, 502, 503, 504)


@dataclass(slots=True)
class Event:
    """`data` is its JSON."""

    name: str
    data: Any


async def read_events(transport: Transport, path: str) -> AsyncIterator[Event]:
    """The events of a stream, until whoever reads has enough. Raises Refused, Unreachable."""
    parser, failures = _Parser(), 0
    while failures < MAX_RECONNECTS:
        known = {"Last-Event-ID": parser.last_id} if parser.last_id else {}
        try:
            async with transport.stream(path, known) as response:
                async for line in response.aiter_lines():
                    failures = 0  # also at a heartbeat: proxies end streams that are in order
                    if (event := parser.read(line)) is not None:
                        yield event
        except (BrokenOff, ValueError):  # ValueError: a line that is not JSON
            pass
        except Refused as error:
            if error.status not in RESTARTING:
                raise
        failures += 1
        await asyncio.sleep(RECONNECT_S)
    raise Unreachable("the event stream broke off too often; what was asked for goes on: look at its status")


class _Parser:
    def __init__(self) -> None:
        self.last_id = ""
        self._name = ""

    def read(self, line: str) -> Event | None:
        """The event that ends with this line of data. Raises ValueError."""
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            self.last_id = value
        elif field == "event":
            self._name = value
        elif field == "data":
            return Event(self._name or "message", json.loads(value))
        return None

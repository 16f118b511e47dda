"""Tells whoever supervises this process that it lives: the protocol of systemd's sd_notify(3) and `WatchdogSec=`.

`reelmill up` speaks it, too: a process whose event loop stands still sends no more messages, and is started again."""

import asyncio
import os
import socket
from contextlib import suppress

BEAT_INTERVAL_S = 1.0
VARIABLE = "NOTIFY_SOCKET"


async def beat() -> None:
    """Send a sign of life every second until cancelled; nothing if nobody supervises this process."""
    address = os.environ.pop(VARIABLE, "")  # children are none of the supervisor's business
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.setblocking(False)
        while True:
            with suppress(OSError):  # it is not there, or does not read
                supervisor.sendto(b"WATCHDOG=1", f"\0{address[1:]}" if address.startswith("@") else address)
            await asyncio.sleep(BEAT_INTERVAL_S)

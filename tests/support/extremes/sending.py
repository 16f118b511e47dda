"""Send a case to an application in this process, and measure how long its event loop was kept busy."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI

from tests.support.extremes.cases import Case


@dataclass(frozen=True)
class Answer:
    """The response; `busy_s` is the CPU time of the longest callback of the event loop meanwhile."""

    status: int
    headers: dict[str, str]
    body: bytes
    busy_s: float


class BusyMeter:
    """The CPU time that the loop's thread used in its longest callback since the last reset: no other process counts."""

    longest_s = 0.0

    @contextmanager
    def measure_callbacks(self) -> Iterator["BusyMeter"]:
        """Measure every callback of every event loop of this process."""
        run, meter = asyncio.events.Handle._run, self

        def run_and_measure(handle: asyncio.events.Handle) -> None:
            started = time.thread_time()
            try:
                run(handle)
            finally:
                meter.longest_s = max(meter.longest_s, time.thread_time() - started)

        asyncio.events.Handle._run = run_and_measure  # type: ignore[method-assign]
        try:
            yield self
        finally:
            asyncio.events.Handle._run = run  # type: ignore[method-assign]


async def send(app: FastAPI, case: Case, token: str, meter: BusyMeter) -> Answer:
    """As uvicorn would hand the request to the application. An exception that the application lets through is a 599."""
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"host", b"test")]
    headers = [pair for pair in headers if pair[0] not in {name for name, _ in case.headers}] + list(case.headers)
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": case.method,
        "scheme": "http",
        "path": unquote(case.path),
        "raw_path": case.path.encode(),
        "query_string": case.query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
        "state": {},
    }
    chunks = [case.body[start : start + 65_536] for start in range(0, len(case.body), 65_536)] or [b""]
    started: dict[str, Any] = {"status": 599, "headers": []}
    body = bytearray()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        if not chunks:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def respond(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        body.extend(message.get("body", b""))

    await asyncio.sleep(0)
    meter.longest_s = 0.0
    try:
        await app(scope, receive, respond)
    except Exception:
        started["status"] = 599
    await asyncio.sleep(0)
    names = {name.decode().lower(): value.decode("latin-1") for name, value in started["headers"]}
    return Answer(started["status"], names, bytes(body), meter.longest_s)

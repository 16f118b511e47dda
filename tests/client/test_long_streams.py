"""What goes on for long: event streams that break off, arrays that nobody takes, answers in parts."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.client import events as events_module
from service.client.addresses import Address
from service.client.errors import NotFound, Unreachable
from service.client.events import read_events
from service.client.frames import AHEAD, AsyncFrames
from service.client.queries import AsyncQuery
from service.client.renders import AsyncRender, AsyncRenders
from service.client.transport import Transport

pytestmark = pytest.mark.anyio
STATUS = b'id: 7\nevent: status\ndata: {"status": "running"}\n\n'
DONE = b'event: status\ndata: {"status": "succeeded"}\n\n'
HEARTBEAT = b": ping\n\n"


class Streams(httpx.AsyncBaseTransport):
    """One answer after the other: a body, a status, or an error."""

    def __init__(self, *answers: bytes | int | Exception) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else httpx.Response(200, content=answer)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "RECONNECT_S", 0.0)


async def read(*answers: bytes | int | Exception) -> tuple[list[Any], Streams]:
    """The events up to the end of the render."""
    streams, seen = Streams(*answers), list[Any]()
    async for event in read_events(Transport(Address("http://mill", "t"), streams), "/events"):
        seen.append(event.data["status"])
        if seen[-1] == "succeeded":
            break
    return seen, streams


@pytest.mark.parametrize("sent", [STATUS, HEARTBEAT], ids=["an event", "a heartbeat"])
async def test_a_stream_that_lives_may_break_off_as_often_as_it_likes(sent: bytes) -> None:
    breaks = 3 * events_module.MAX_RECONNECTS
    seen, streams = await read(STATUS, *[sent] * breaks, DONE)
    assert seen[-1] == "succeeded" and len(streams.requests) == breaks + 2
    assert streams.requests[-1].headers["Last-Event-ID"] == "7"


async def test_a_service_that_is_restarted_is_waited_for() -> None:
    seen, _ = await read(STATUS, httpx.ConnectError("away"), 502, 503, DONE)
    assert seen == ["running", "succeeded"]


async def test_a_stream_that_sends_nothing_is_given_up() -> None:
    with pytest.raises(Unreachable, match="too often"):
        await read(*[b""] * events_module.MAX_RECONNECTS)


async def test_a_render_that_is_gone_is_not_asked_for_again() -> None:
    with pytest.raises(NotFound):
        await read(STATUS, 404)


class Frames(httpx.AsyncBaseTransport):
    """A dataset of many frames."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/array"):
            file = io.BytesIO()
            np.save(file, np.zeros((2, 2), np.uint16))
            return httpx.Response(200, content=file.getvalue())
        query = request.url.params
        start = int(query["start"])
        rows = [
            {"index": start + number, "problem": None, "width": 2, "height": 2} for number in range(int(query["limit"]))
        ]
        return httpx.Response(200, json=rows)


async def test_arrays_that_were_fetched_ahead_in_vain_are_not_kept() -> None:
    transport = Transport(Address("http://mill", "t"), Frames())
    async for frame in AsyncFrames(transport, "d", range(40)).each():
        if frame.index == 0:
            await frame.array()  # of no other
        assert frame._ahead is not None
        await asyncio.sleep(0)
        assert len(frame._ahead.tasks) <= AHEAD + 1
        assert min(frame._ahead.tasks, default=frame.index) >= frame.index


class TwoParts(httpx.AsyncByteStream):
    """A body whose second half comes when its turn has come."""

    def __init__(self, body: bytes, may_end: asyncio.Event) -> None:
        self.body, self.may_end = body, may_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        half = len(self.body) // 2
        yield self.body[:half]
        await self.may_end.wait()
        yield self.body[half:]


class Videos(httpx.AsyncBaseTransport):
    """Two videos. The second request lets the first end; `last` lets the second."""

    def __init__(self, videos: dict[str, bytes]) -> None:
        self.videos, self.last, self.second = videos, asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        job = request.url.path.split("/")[3]
        if job == "b":
            self.second.set()
        return httpx.Response(200, stream=TwoParts(self.videos[job], self.last if job == "b" else self.second))


async def test_two_downloads_into_one_file_do_not_mix(tmp_path: Path) -> None:
    """As of a script that is begun again before it has ended."""
    videos = Videos({"a": b"a" * 1000, "b": b"b" * 3000})
    transport, target = Transport(Address("http://mill", "t"), videos), tmp_path / "newest.mp4"
    first, second = (
        AsyncRender(transport, {"job_id": job, "status": "succeeded", "video_sha256": hashlib.sha256(body).hexdigest()})
        for job, body in videos.videos.items()
    )
    slow = asyncio.create_task(first.save(target))
    await asyncio.sleep(0.01)
    slower = asyncio.create_task(second.save(target))
    await slow
    assert target.read_bytes() == videos.videos["a"]
    videos.last.set()
    await slower
    assert target.read_bytes() == videos.videos["b"]
    assert list(tmp_path.iterdir()) == [target], "nothing else is left"


class Rows(httpx.AsyncBaseTransport):
    """Twenty rows, of which seven are as many as one answer can have."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        document = json.loads(request.content)
        start = int(document.get("cursor") or 0)
        end = min(start + document.get("limit", 7), start + 7, 20)
        following = str(end) if end < 20 else None
        return httpx.Response(200, json={"rows": [{"n": n} for n in range(start, end)], "next_cursor": following})


@pytest.mark.parametrize("limit", [None, 1, 7, 12, 20, 30])
async def test_as_many_rows_as_were_asked_for_also_if_an_answer_has_fewer(limit: int | None) -> None:
    query = AsyncQuery(Transport(Address("http://mill", "t"), Rows()), {"table": "frames"})
    rows = await (query if limit is None else query.limit(limit)).rows()
    assert [row["n"] for row in rows] == list(range(min(limit or 20, 20)))


async def test_an_estimate_is_no_render() -> None:
    """It is refused before others of the batch are accepted, whose renders nobody would be told of."""
    streams = Streams()
    renders = AsyncRenders(Transport(Address("http://mill", "t"), streams))
    for ask in (renders.submit(dry_run=True), renders.submit_many([{"fps": 30}, {"dry_run": True}])):
        with pytest.raises(ValueError, match="estimate"):
            await ask
    assert streams.requests == []

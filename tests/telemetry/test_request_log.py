"""The log line of a request, and the description of a failed one."""

from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.telemetry.request_log import AccessLogMiddleware, BodyRecorder, describe_request

pytestmark = pytest.mark.anyio
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["path"] == "/breaks":
        raise RuntimeError
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def get(path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(AccessLogMiddleware(answer), raise_app_exceptions=False, client=("10.0.0.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_what_it_says(log_lines: Any) -> None:
    response = await get("/a?token=hunter2", traceparent=f"00-{TRACE}-00f067aa0ba902b7-01", x_request_id="mine-1")
    (line,) = log_lines()
    assert response.headers["x-request-id"] == line["request_id"] == "mine-1"
    assert {"timestamp", "level", "latency_ms", "route", "user"} <= line.keys()
    assert (line["method"], line["path"], line["status"], line["client"]) == ("GET", "/a", 204, "10.0.0.9")
    assert line["trace_id"] == TRACE and "hunter2" not in str(line)


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", '"'])
async def test_request_ids_that_are_no_plain_word_are_replaced(log_lines: Any, given: str) -> None:
    response = await get("/a", x_request_id=given, traceparent=f"00-{'0' * 32}-00f067aa0ba902b7-01")
    (line,) = log_lines()
    assert response.headers["x-request-id"] == line["request_id"] != given
    assert len(line["trace_id"]) == 32 and int(line["trace_id"], 16)


@pytest.mark.parametrize(("is_fault", "level"), [(None, "error"), (False, "info")])
async def test_what_only_has_to_be_asked_again_is_no_error(log_lines: Any, is_fault: bool | None, level: str) -> None:
    async def answer_later(scope: Scope, _receive: Receive, send: Send) -> None:
        if is_fault is not None:
            scope["state"]["is_fault"] = is_fault
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body"})

    transport = httpx.ASGITransport(AccessLogMiddleware(answer_later))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/a")
    (line,) = log_lines()
    assert (line["status"], line["level"]) == (503, level)


async def test_a_request_that_was_never_answered(log_lines: Any) -> None:
    await get("/breaks")
    assert log_lines()[-1]["status"] == 499


def test_a_failed_request_is_described_with_its_body() -> None:
    body = BodyRecorder()
    body.add(b'{"name": ')
    body.add(b'"a"}')
    headers = [(b"range", b"bytes=0-9"), (b"authorization", b"Bearer hunter2")]
    scope = {"type": "http", "method": "PUT", "path": "/a", "query_string": b"x=1", "headers": headers}
    described = describe_request({**scope, "state": {"body": body}})
    assert (described["body"]["size"], described["body"]["json"]) == (13, {"name": "a"})
    assert (described["headers"], described["query"]) == ({"range": "bytes=0-9"}, {"x": ["1"]})
    assert describe_request(scope)["body"] is None

"""What the client repeats, what it waits for, and which errors it raises: over scripted answers of a connection."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client import transport as module
from service.client.addresses import Address
from service.client.errors import (
    Busy,
    Conflict,
    Invalid,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Refused,
    UnexpectedAnswer,
    Unreachable,
)
from service.client.requests import Request
from service.client.transport import Transport

pytestmark = pytest.mark.anyio
Answer = httpx.Response | Exception


class Script(httpx.AsyncBaseTransport):
    """Gives one answer after the other; the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers, self.requests = list(answers), list[httpx.Request]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the client: it goes only while the client waits. Returns how long it has waited each time."""
    waited = list[float]()

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    monkeypatch.setattr(module.time, "monotonic", lambda: sum(waited))
    return waited


def connect(*answers: Answer) -> tuple[Transport, Script]:
    script = Script(*answers)
    return Transport(Address("http://mill", "t"), script), script


def answer(status: int, body: Any = None, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, content=json.dumps(body).encode())


async def test_a_service_that_says_how_long_is_waited_for(waits: list[float]) -> None:
    transport, script = connect(
        answer(429, **{"Retry-After": "7"}), answer(503, **{"Retry-After": "2"}), answer(200, {"a": 1})
    )
    assert await transport.call("generate", body={}) == {"a": 1}
    assert waits == [7, 2] and len(script.requests) == 3


async def test_not_for_longer_than_five_minutes(waits: list[float]) -> None:
    transport, _ = connect(answer(429, {"title": "Too many"}, **{"Retry-After": "60"}))
    with pytest.raises(Busy, match="Too many"):
        await transport.call("get_usage")
    assert 240 <= sum(waits) <= module.BUSY_S


async def test_one_that_does_not_say_how_long_is_asked_a_few_times_if_that_does_no_harm(waits: list[float]) -> None:
    transport, script = connect(answer(503, {"title": "No"}))
    with pytest.raises(Busy):
        await transport.call("get_usage")
    assert len(script.requests) == module.BUSY_ATTEMPTS + 1
    transport, script = connect(answer(503, {"title": "No"}))
    with pytest.raises(Busy):
        await transport.call("cancel_video", job_id="1")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("request_", "times"),
    [
        (Request("GET", "/x"), 2),
        (Request("PUT", "/x"), 2),
        (Request("POST", "/x", headers={"Idempotency-Key": "k"}), 2),
        (Request("POST", "/x", is_harmless=True), 2),
        (Request("POST", "/x"), 1),
        (Request("PATCH", "/x"), 1),
    ],
)
async def test_only_what_can_be_repeated_is_sent_again_after_it_may_have_arrived(request_: Request, times: int) -> None:
    transport, script = connect(httpx.ReadError("cut"), answer(200, {}))
    if times == 1:
        with pytest.raises(Unreachable, match="broke the connection off"):
            await transport.send(request_)
    else:
        await transport.send(request_)
    assert len(script.requests) == times


async def test_what_was_never_sent_is_sent_again(waits: list[float]) -> None:
    transport, script = connect(httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), answer(200, {}))
    await transport.send(Request("POST", "/x"))
    assert len(script.requests) == 3 and waits == sorted(waits)


async def test_a_service_that_stays_away(waits: list[float]) -> None:
    transport, _ = connect(httpx.ConnectError("refused"))
    with pytest.raises(Unreachable, match="is it running"):
        await transport.call("get_usage")
    assert module.PATIENCE_S < sum(waits) < 2 * module.PATIENCE_S


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (401, NotAuthenticated),
        (403, NotPermitted),
        (404, NotFound),
        (409, Conflict),
        (412, Conflict),
        (422, Invalid),
        (500, Refused),
    ],
)
async def test_a_refusal_is_an_error_of_its_kind(status: int, kind: type[Refused]) -> None:
    fields = [{"detail": "too many", "code": "x", "pointer": "#/fps"}, {"detail": "odd", "code": "y", "parameter": "q"}]
    transport, _ = connect(answer(status, {"title": "No", "detail": "not so", "errors": fields}))
    with pytest.raises(kind) as caught:
        await transport.send(Request("POST", "/x"))
    assert (caught.value.status, str(caught.value)) == (status, f"#/fps: too many; q: odd ({status})")
    assert caught.value.errors == fields and caught.value.problem["detail"] == "not so"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["detail", "title", "errors", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.integers(400, 599), st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
async def test_whatever_is_answered_is_one_of_our_errors(status: int, body: bytes) -> None:
    transport, _ = connect(httpx.Response(status, content=body))
    with pytest.raises(Refused) as caught:
        await transport.send(Request("POST", "/x"))
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"\xff", b"1", b'"a"', b"[1]"])
@pytest.mark.parametrize("read", [lambda t: t.call("get_usage"), lambda t: anext(t.rows("/x"))])
async def test_somebody_else_answers(body: bytes, read: Callable[[Transport], Any]) -> None:
    transport, _ = connect(httpx.Response(200, content=body))
    try:
        found = await read(transport)
    except UnexpectedAnswer as error:
        assert "REELMILL_URL" in str(error)
    else:
        assert body in (b"1", b'"a"', b"[1]") and found in (1, "a", [1]), (
            "JSON, of an operation of which nothing is known"
        )


async def test_the_pages_of_a_list_are_followed() -> None:
    pages = [answer(200, [{"n": 1}, {"n": 2}], Link='</x?cursor=a%2B>; rel="next"'), answer(200, [{"n": 3}])]
    transport, script = connect(*pages)
    assert [row["n"] async for row in transport.rows("/x", {"mine": True, "q": None})] == [1, 2, 3]
    assert [str(request.url) for request in script.requests] == ["http://mill/x?mine=true", "http://mill/x?cursor=a%2B"]

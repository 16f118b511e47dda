"""A model server that means harm costs a bounded amount of memory and time, and the question is still answered."""

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from service.agent.ollama_client import MAX_ANSWER_BYTES, LanguageModels, Prompt, UnusableOutput, probe_ollama
from service.agent.settings import AgentSettings
from service.errors import GatewayTimeout, ServiceUnavailable
from tests.agent.conftest import NAMES, Lab
from tests.support.servers.hostile_http import CHUNKED, OK, body, bomb, endless, endless_headers, hostile_server

pytestmark = pytest.mark.anyio
PROMPT = Prompt("Be brief.", (("user", "hello"),), 20)
# Buffers of both sockets, which the client need not have read.
BUFFERED_BYTES = 16 * 1024 * 1024
NESTED = b"[" * 500_000


def part(content: object, **more: object) -> bytes:
    return json.dumps(
        {"model": "m", "message": {"role": "assistant", "content": content}, "done": False} | more
    ).encode()


def endless_lines() -> Iterator[bytes]:
    return endless(part("", thinking="x" * 1000) + b"\n")


def endless_error() -> Iterator[bytes]:
    return endless(head=CHUNKED.replace(b"200 OK", b"500 Oops"))


def dripping() -> Iterator[bytes]:
    yield CHUNKED
    while True:
        yield b"1\r\n \r\n"


HOSTILE: dict[str, tuple[Callable[[], Iterator[bytes]], type[Exception]]] = {
    "one endless line": (endless, UnusableOutput),
    "endless lines without text": (endless_lines, UnusableOutput),
    "an endless error": (endless_error, UnusableOutput),
    "endless headers": (endless_headers, UnusableOutput),
    "a bomb": (bomb, UnusableOutput),
    "nested JSON": (body(NESTED + b"\n"), UnusableOutput),
    "a nested error": (body(b'{"error": "' + NESTED + b'"}\n'), UnusableOutput),
    "nested content": (body(part([[]]) + b"\n"), UnusableOutput),
    "a number without end": (body(b'{"done": ' + b"9" * 500_000 + b"}\n"), UnusableOutput),
    "a long text": (body(part("x" * 900_000) + b"\n"), UnusableOutput),
    "another place": (lambda: iter([OK.replace(b"200 OK", b"307 Go") + b"Location: /x\r\n\r\n"]), ServiceUnavailable),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_an_answer_of_any_kind_is_bounded(case: str) -> None:
    answer, error = HOSTILE[case]
    async with hostile_server(answer) as server:
        models = LanguageModels(server.host, AgentSettings.model_construct(**NAMES))
        models._get_client()
        next(answer())
        tracemalloc.start()
        with pytest.raises(error):
            await models.generate("fast", PROMPT, 20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await models.close()
    assert server.requests == 1 and server.sent <= MAX_ANSWER_BYTES + BUFFERED_BYTES
    assert peak < 24 * MAX_ANSWER_BYTES, f"{peak >> 20} MiB"


async def test_an_answer_that_drips_ends_at_the_deadline() -> None:
    async with hostile_server(dripping, pause_s=0.02) as server:
        models = LanguageModels(server.host, AgentSettings.model_construct(**NAMES))
        with pytest.raises(GatewayTimeout):
            await models.generate("fast", PROMPT, 0.3)
        await models.close()


@pytest.mark.parametrize("case", ["one endless line", "a bomb", "nested JSON"])
async def test_a_question_is_answered_without_the_server(lab: Lab, case: str) -> None:
    async with hostile_server(HOSTILE[case][0]) as server:
        common = await lab.ask(server.host, "how many frames has fish")
        assert "12" in common.answer and server.requests == 0
        other = await lab.ask(server.host, "which of mine is the most beautiful")
        assert "I could not turn this question into a query" in other.answer


@pytest.mark.parametrize("case", ["one endless line", "a bomb", "nested JSON", "endless headers"])
async def test_a_probe_is_bounded(case: str) -> None:
    async with hostile_server(HOSTILE[case][0]) as server:
        with pytest.raises(Exception) as raised:
            await probe_ollama(server.host, AgentSettings())
        assert not isinstance(raised.value, MemoryError) and server.sent <= MAX_ANSWER_BYTES + BUFFERED_BYTES


async def test_a_probe_that_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.agent.ollama_client.PROBE_TIMEOUT_S", 0.1)
    async with hostile_server(dripping, pause_s=0.02) as server, asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await probe_ollama(server.host, AgentSettings())


async def test_a_version_of_any_length_is_cut() -> None:
    answer = json.dumps({"version": "1" * 100_000, "models": []}).encode()
    async with hostile_server(body(answer)) as server:
        assert len((await probe_ollama(server.host, AgentSettings())).version) <= 40

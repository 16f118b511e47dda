"""Every failure of Ollama becomes a named error within the time limit."""

import asyncio
from typing import Any

import pytest

from service.agent.ollama_client import MAX_OUTPUT_CHARACTERS, LanguageModels, Prompt, UnusableOutput
from service.agent.settings import AgentSettings, ollama_url
from service.errors import GatewayTimeout, ServiceUnavailable
from tests.agent.conftest import FAST, NAMES
from tests.support.doubles.ollama_double import (
    BUSY,
    CRASHED,
    OUT_OF_MEMORY,
    BrokenReply,
    ErrorReply,
    HangingReply,
    OllamaDouble,
    TextReply,
    ollama,
)

pytestmark = pytest.mark.anyio
PROMPT = Prompt("Be brief.", (("user", "hello"),), 20)


async def generate_text(host: str | None, within_s: float = 20, **settings: Any) -> str:
    models = LanguageModels(host, AgentSettings.model_construct(**(NAMES | settings)))
    try:
        return await models.generate("fast", PROMPT, within_s)
    finally:
        await models.close()


async def test_a_text(models: OllamaDouble) -> None:
    models.script(FAST, "<think>so</think> Hello, this comes in parts. ")
    assert await generate_text(models.host) == "Hello, this comes in parts."
    assert await generate_text(models.host.removeprefix("http://")) == "Hello, this comes in parts."
    body = models.chat_requests[0]
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    assert body["stream"] is True and body["think"] is False and body["options"]["num_predict"] == 20


@pytest.mark.parametrize(
    ("reply", "error", "says"),
    [
        (BUSY, ServiceUnavailable, "busy"),
        (ErrorReply(429, "slow down"), ServiceUnavailable, "busy"),
        (OUT_OF_MEMORY, ServiceUnavailable, f"the model {FAST} cannot be run"),
        (ErrorReply(401, "unauthorized"), ServiceUnavailable, "cannot be run"),
        (BrokenReply("Hel", CRASHED), UnusableOutput, "breaks off"),
        (BrokenReply("Hel"), UnusableOutput, "breaks off"),
        (TextReply("x" * (MAX_OUTPUT_CHARACTERS + 1)), UnusableOutput, "too long"),
        (HangingReply(), GatewayTimeout, f"the model {FAST} did not answer within 0.2 s"),
        (HangingReply("Hel"), GatewayTimeout, "within 0.2 s"),
    ],
)
async def test_what_can_go_wrong(models: OllamaDouble, reply: Any, error: type[Exception], says: str) -> None:
    models.script(FAST, reply)
    with pytest.raises(error, match=says) as raised:
        await generate_text(models.host, step_timeout_s=0.2 if error is GatewayTimeout else 20)
    assert "GiB" not in str(raised.value) and "CUDA" not in str(raised.value)


async def test_a_deadline_is_shorter_than_a_step(models: OllamaDouble) -> None:
    models.script(FAST, HangingReply())
    with pytest.raises(GatewayTimeout, match=r"within 0\.2 s"):
        await generate_text(models.host, within_s=0.2)


async def test_a_missing_model_is_named_with_how_to_get_it() -> None:
    with ollama("another:1b") as double, pytest.raises(ServiceUnavailable, match=f"ollama pull {FAST}"):
        await generate_text(double.host)


async def test_nothing_there() -> None:
    with pytest.raises(ServiceUnavailable, match="OLLAMA_HOST"):
        await generate_text(None)
    with ollama() as double:
        host = double.host
    with pytest.raises(ServiceUnavailable, match="cannot be reached") as away:
        await generate_text(host)
    assert host.rpartition(":")[2] not in str(away.value) and away.value.headers["Retry-After"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>.\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]",
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"message": 1}\n',
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
    ],
)
async def test_something_else_there(data: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(UnusableOutput):
            await generate_text(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("ollama", "http://ollama:11434"),
        ("10.0.0.1:9", "http://10.0.0.1:9"),
        (":9", "http://127.0.0.1:9"),
        ("http://ollama", "http://ollama:80"),
        ("https://ollama.example/api-of-ours/", "https://ollama.example:443/api-of-ours"),
        ("[::1]:9", "http://[::1]:9"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(given: str, url: str) -> None:
    from ollama import AsyncClient

    assert ollama_url(given) == url
    assert str(AsyncClient(given)._client.base_url).rstrip("/") in (
        url,
        url.removesuffix(":80"),
        url.replace(":443", ""),
    )


@pytest.mark.parametrize("given", ["http://ollama:port", "ftp://ollama", "[::1", "ollama:99999999"])
def test_an_address_that_cannot_be(given: str) -> None:
    with pytest.raises(ValueError, match="must be host:port") as refused:
        ollama_url(given)
    assert given not in str(refused.value)

"""The double of Ollama works with the real client."""

import json

import httpx
import pytest
from ollama import AsyncClient, ResponseError

from tests.support.doubles.ollama_double import BUSY, CRASHED, BrokenReply, TextReply, ollama

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


async def test_the_paths_around_chat() -> None:
    with ollama("llama3") as double:
        async with httpx.AsyncClient(base_url=double.host) as client:
            assert (await client.get("/")).text == "Ollama is running"
            assert (await client.get("/api/version")).json()["version"]
            assert (await client.get("/api/nothing")).status_code == 404
            assert (await client.post("/api/chat", content=b"{")).status_code == 400
        client = AsyncClient(double.host)
        assert [model.model for model in (await client.list()).models] == ["llama3:latest"]
        assert (await client.ps()).models == []
        assert (await client.show("llama3:latest")).capabilities == ["completion"]
        with pytest.raises(ResponseError, match="not found") as missing:
            await client.show("other")
        assert missing.value.status_code == 404


async def test_chat_at_once_and_in_parts() -> None:
    with ollama("m") as double:
        double.script("m", "a text of several parts")
        client = AsyncClient(double.host)
        whole = await client.chat("m", HELLO)
        assert (whole.message.content, whole.done, whole.done_reason) == ("a text of several parts", True, "stop")
        parts = [part async for part in await client.chat("m", HELLO, stream=True)]
        assert "".join(part.message.content or "" for part in parts) == "a text of several parts" and len(parts) > 3
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_refusals() -> None:
    with ollama("m") as double:
        client = AsyncClient(double.host)
        for model, status, text in (("other", 404, "model 'other' not found"), ("m", 503, "server busy")):
            double.script("m", BUSY)
            for stream in (False, True):
                with pytest.raises(ResponseError, match=text) as refused:
                    answer = await client.chat(model, HELLO, stream=stream)  # type: ignore[call-overload]
                    [part async for part in answer]
                assert refused.value.status_code == status


async def test_an_error_in_the_middle() -> None:
    with ollama("m") as double:
        client = AsyncClient(double.host)
        double.script("m", BrokenReply("some text", CRASHED))
        said = ""
        with pytest.raises(ResponseError) as broken:
            async for part in await client.chat("m", HELLO, stream=True):
                said += part.message.content or ""
        assert (said, broken.value.status_code, broken.value.error) == ("some text", -1, CRASHED)
        double.script("m", BrokenReply("some text"))
        with pytest.raises(json.JSONDecodeError):
            [part async for part in await client.chat("m", HELLO, stream=True)]


async def test_format_is_honoured() -> None:
    with ollama("m") as double:
        client = AsyncClient(double.host)
        double.script("m", {"a": 1})
        assert json.loads((await client.chat("m", HELLO, format=SCHEMA)).message.content or "") == {"a": 1}
        double.script("m", {"a": "no"})
        with pytest.raises(ResponseError, match="cannot say that"):
            await client.chat("m", HELLO, format=SCHEMA)
        double.script("m", TextReply('{"a', length=True))
        cut = await client.chat("m", HELLO, format=SCHEMA)
        assert (cut.message.content, cut.done_reason) == ('{"a', "length")
        double.script("m", {"a": "text"})
        with pytest.raises(ResponseError, match="cannot say that"):
            await client.chat("m", HELLO, format={"type": "object", "properties": {"a": {}}})
        with pytest.raises(ResponseError, match="grammar"):
            await client.chat("m", HELLO, format={"type": "string", "maxLength": 5000})
    with ollama("m", ignores_format=True) as double:
        double.script("m", "prose")
        assert (await AsyncClient(double.host).chat("m", HELLO, format=SCHEMA)).message.content == "prose"

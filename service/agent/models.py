"""The models, behind the one thing asked of them: text for a prompt, in time, or a named error."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import httpx

from service.agent.settings import AgentSettings
from service.errors import GatewayTimeout, ReelmillError, ServiceUnavailable
from service.telemetry.metrics import AGENT_MODEL_SECONDS

if TYPE_CHECKING:
    from ollama import AsyncClient

ModelRole = Literal["fast", "code", "default"]
CONNECT_TIMEOUT_S = 3.0
CONTEXT_TOKENS = 8192
"""The same for every call: another size would make Ollama load the model anew. Its default cuts our prompts."""
MAX_OUTPUT_CHARACTERS = 32_768
RETRY_AFTER = {"Retry-After": "10"}
THINKING_BLOCK = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class UnusableOutput(Exception):
    """A model's output that nothing can be done with; the text tells the model why."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: the rules, then the turns (role, text). `schema`: JSON schema of the answer."""

    system: str
    turns: tuple[tuple[str, str], ...]
    max_tokens: int
    schema: Mapping[str, Any] | None = None

    def messages(self) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for role, text in (("system", self.system), *self.turns)]

    def with_correction(self, output: str, reason: str) -> "Prompt":
        """The same again, with what was wrong with the first attempt."""
        answered = (("assistant", output),) if output else ()
        turns = (*self.turns, *answered, ("user", f"That cannot be used: {reason}\nWrite a corrected one."))
        return Prompt(self.system, turns, self.max_tokens, self.schema)


class LanguageModels:
    """Three models of one Ollama. Nothing is connected before the first question."""

    def __init__(self, host: str | None, settings: AgentSettings) -> None:
        self.host = host
        self._settings = settings
        self._client: AsyncClient | None = None

    def model_name(self, role: ModelRole) -> str:
        names = {"fast": self._settings.fast_model, "code": self._settings.code_model}
        return names.get(role, self._settings.default_model)

    async def generate(self, role: ModelRole, prompt: Prompt, timeout_s: float) -> str:
        """The model's text. Raises Unavailable, TimedOut (after `within_s`, at most the step's limit), Unusable."""
        model, limit = self.model_name(role), min(timeout_s, self._settings.step_timeout_s)
        with AGENT_MODEL_SECONDS.labels(role).time(), _translate_errors(model, limit):
            async with asyncio.timeout(limit):
                return await self._stream_text(model, prompt)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()  # type: ignore[no-untyped-call]

    async def _stream_text(self, model: str, prompt: Prompt) -> str:
        """Streamed, so that a flood is stopped and a broken answer is known as one."""
        parts = await self._get_client().chat(
            model=model,
            messages=prompt.messages(),
            stream=True,
            think=False,
            format=cast(Any, prompt.schema),
            options={"temperature": 0, "seed": 0, "num_ctx": CONTEXT_TOKENS, "num_predict": prompt.max_tokens},
        )
        said, ended = "", False
        async with aclosing(cast(Any, parts)) as open_parts:
            async for part in cast(AsyncIterator[Any], open_parts):
                said, ended = said + (part.message.content or ""), bool(part.done)
                if len(said) > MAX_OUTPUT_CHARACTERS:
                    raise UnusableOutput("it is far too long")
        if not ended:
            raise UnusableOutput("it breaks off")
        return THINKING_BLOCK.sub("", said).strip()

    def _get_client(self) -> "AsyncClient":
        """Imported late: ollama makes a client, and reads OLLAMA_HOST, when it is imported."""
        if self.host is None:
            raise ServiceUnavailable("no models are configured (OLLAMA_HOST): only common questions can be answered")
        if self._client is None:
            from ollama import AsyncClient

            timeout = httpx.Timeout(self._settings.step_timeout_s, connect=CONNECT_TIMEOUT_S)
            self._client = AsyncClient(self.host, timeout=timeout)
        return self._client


@contextmanager
def _translate_errors(model: str, timeout_s: float) -> Iterator[None]:
    """What the client raises (its own errors, the builtin ConnectionError, raw httpx errors) as ours."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError, ConnectionError) as error:
        raise _unreachable_error() from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise GatewayTimeout(f"the model {model} did not answer within {timeout_s:.3g} s") from error
    except (
        httpx.HTTPError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # cut off, or no Ollama
        raise UnusableOutput("it breaks off") from error
    except ReelmillError:
        raise
    except Exception as error:
        status = getattr(error, "status_code", None)  # ollama.ResponseError, which cannot be imported up there
        if status is None:
            raise
        raise _status_error(model, status) from error


def _unreachable_error() -> ServiceUnavailable:
    return ServiceUnavailable(
        "the models cannot be reached; common questions are answered without them", headers=RETRY_AFTER
    )


def _status_error(model: str, status: int) -> Exception:
    """-1 is an error in the middle of an answer."""
    match status:
        case -1:
            return UnusableOutput("it breaks off")
        case 404:
            return ServiceUnavailable(
                f"the model {model} is not there; an operator can get it with: ollama pull {model}"
            )
        case 429 | 503:
            return ServiceUnavailable("the models are busy; try again in a moment", headers=RETRY_AFTER)
        case _:
            return ServiceUnavailable(f"the model {model} cannot be run; it was logged under the error_id")

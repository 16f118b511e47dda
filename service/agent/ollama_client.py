"""Generate text with Ollama within a time limit, and check which models are installed."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import httpx
import structlog

from service.agent.settings import AgentSettings
from service.bounded_answers import AnswerRefused, bounded_answers
from service.errors import GatewayTimeout, ReelmillError, ServiceUnavailable, first_line
from service.telemetry.metrics import AGENT_MODEL_SECONDS, AGENT_TOKENS

if TYPE_CHECKING:
    from ollama import AsyncClient

ModelRole = Literal["fast", "code", "default"]
ROLES: tuple[ModelRole, ...] = ("fast", "code", "default")
CONNECT_TIMEOUT_S = 3.0
WARM_UP_TIMEOUT_S = 300.0  # a large model is read from a disk
# Ollama's default truncates the prompts. The same for every call, because Ollama reloads a model if it changes.
CONTEXT_TOKENS = 8192
RETRY_TEMPERATURE = 0.6
MAX_OUTPUT_CHARACTERS = 32_768
# Of one streamed answer, which has a line of JSON of some 200 bytes for each of at most 1500 tokens.
MAX_ANSWER_BYTES = 1024 * 1024
RETRY_AFTER = {"Retry-After": "10"}
log = structlog.get_logger("service.agent")
THINKING_BLOCK = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)


class UnusableOutput(Exception):
    """A model's output that cannot be used. The message is sent to the model as the reason."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A system prompt, then turns of (role, text). `schema` is the JSON schema of the answer. `attempt`: the first one
    is at temperature 0; later ones are not, or a model would write the same again."""

    system: str
    turns: tuple[tuple[str, str], ...]
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    attempt: int = 1

    def messages(self) -> list[dict[str, str]]:
        return [{"role": role, "content": text} for role, text in (("system", self.system), *self.turns)]

    def with_correction(self, output: str, reason: str, schema: Mapping[str, Any] | None) -> "Prompt":
        """The prompt with the rejected output and the reason appended, and the schema of the correction."""
        rejected = (("assistant", output),) if output else ()
        correction = f"That cannot be used: {reason}\nWrite a corrected one and keep the rest as it is."
        turns = (*self.turns, *rejected, ("user", correction))
        return Prompt(self.system, turns, self.max_tokens, schema, self.attempt + 1)


class LanguageModels:
    """The three models of one Ollama server. Connects on first use."""

    def __init__(self, host: str | None, settings: AgentSettings) -> None:
        self.host = host
        self._settings = settings
        self._client: AsyncClient | None = None

    def model_name(self, role: ModelRole) -> str:
        names = {"fast": self._settings.fast_model, "code": self._settings.code_model}
        return names.get(role, self._settings.default_model)

    async def generate(self, role: ModelRole, prompt: Prompt, timeout_s: float) -> str:
        """The model's text. Raises ServiceUnavailable, UnusableOutput, and GatewayTimeout after `timeout_s` seconds or
        the limit of one step, whichever is less."""
        model, limit = self.model_name(role), min(timeout_s, self._settings.step_timeout_s)
        with AGENT_MODEL_SECONDS.labels(role).time(), _translate_errors(model, limit):
            async with asyncio.timeout(limit):
                return await self._stream_text(role, model, prompt)

    async def warm_up(self) -> None:
        """Have the server load the models, so that the first question does not wait for that. Logs what fails."""
        if self.host is None:
            return
        for model in dict.fromkeys(map(self.model_name, ROLES)):
            try:
                with _translate_errors(model, WARM_UP_TIMEOUT_S):
                    async with asyncio.timeout(WARM_UP_TIMEOUT_S):
                        options = {"num_ctx": CONTEXT_TOKENS}
                        client, kept = self._get_client(), self._settings.keep_alive
                        await client.chat(model=model, messages=[], options=options, keep_alive=kept)
            except (ReelmillError, UnusableOutput) as error:
                log.warning("agent_model_not_loaded", model=model, reason=str(error))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()  # type: ignore[no-untyped-call]

    async def _stream_text(self, role: ModelRole, model: str, prompt: Prompt) -> str:
        """Stream the response, to stop endless output and to detect truncated output."""
        parts = await self._get_client().chat(
            model=model,
            messages=prompt.messages(),
            stream=True,
            think=False,
            format=cast(Any, prompt.schema),
            options=self._options(prompt),
            keep_alive=self._settings.keep_alive,
        )
        text, done = "", False
        async with aclosing(cast(Any, parts)) as open_parts:
            async for part in cast(AsyncIterator[Any], open_parts):
                text, done = text + (part.message.content or ""), bool(part.done)
                if len(text) > MAX_OUTPUT_CHARACTERS:
                    raise UnusableOutput("it is far too long")
                if done:
                    AGENT_TOKENS.labels(role, "prompt").inc(part.prompt_eval_count or 0)
                    AGENT_TOKENS.labels(role, "answer").inc(part.eval_count or 0)
        if not done:
            raise UnusableOutput("it breaks off")
        return THINKING_BLOCK.sub("", text).strip()

    def _options(self, prompt: Prompt) -> dict[str, Any]:
        temperature = self._settings.temperature if prompt.attempt == 1 else RETRY_TEMPERATURE
        sampling = {"temperature": temperature, "seed": self._settings.seed + prompt.attempt - 1}
        return sampling | {"num_ctx": CONTEXT_TOKENS, "num_predict": prompt.max_tokens}

    def _get_client(self) -> "AsyncClient":
        """Import ollama late: on import, it reads OLLAMA_HOST and creates a client. Raises ServiceUnavailable."""
        if self.host is None:
            raise ServiceUnavailable("no models are configured (OLLAMA_HOST): only common questions can be answered")
        if self._client is None:
            from ollama import AsyncClient

            timeout = httpx.Timeout(self._settings.step_timeout_s, connect=CONNECT_TIMEOUT_S)
            options = {"timeout": timeout, "follow_redirects": False} | bounded_answers(MAX_ANSWER_BYTES)
            self._client = AsyncClient(self.host, **options)
        return self._client


@contextmanager
def _translate_errors(model: str, timeout_s: float) -> Iterator[None]:
    """Translate errors of the client: ollama.ResponseError, ConnectionError and httpx errors."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError, ConnectionError) as error:
        detail = "the models cannot be reached; common questions are answered without them"
        raise ServiceUnavailable(detail, headers=RETRY_AFTER) from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise GatewayTimeout(f"the model {model} did not answer within {timeout_s:.3g} s") from error
    except AnswerRefused as error:
        raise UnusableOutput("it is far too long") from error
    except (httpx.HTTPError, ValueError, TypeError, AttributeError, RecursionError) as error:  # not from Ollama
        raise UnusableOutput("it breaks off") from error
    except ReelmillError:
        raise
    except Exception as error:
        status = getattr(error, "status_code", None)  # of ollama.ResponseError, which is not imported at the top
        if status is None:
            raise
        raise _status_error(model, status) from RuntimeError(first_line(error))  # the rest of the text is not ours


def _status_error(model: str, status: int) -> Exception:
    """The error for a status of Ollama; -1 is an error in the middle of the output."""
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


PROBE_TIMEOUT_S = 2.0  # of each read; a server that drips is given up after twice as long
MAX_VERSION_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class OllamaStatus:
    """The version of a reachable Ollama server and the models that it lacks."""

    version: str
    missing_models: tuple[str, ...]

    def pull_hint(self) -> str:
        """The commands that install the missing models."""
        return "missing models: " + ", ".join(f"ollama pull {name}" for name in self.missing_models)


async def probe_ollama(host: str, settings: AgentSettings) -> OllamaStatus:
    """Raises httpx.HTTPError, TimeoutError, KeyError, ValueError or another Exception if no Ollama server answers."""
    base = (host if "://" in host else f"http://{host}").rstrip("/")
    options: dict[str, Any] = {"timeout": PROBE_TIMEOUT_S} | bounded_answers(MAX_ANSWER_BYTES)
    async with asyncio.timeout(2 * PROBE_TIMEOUT_S), httpx.AsyncClient(**options) as client:
        version = (await client.get(f"{base}/api/version")).raise_for_status().json()["version"]
        tags = (await client.get(f"{base}/api/tags")).raise_for_status().json()["models"]
    installed = {model["name"] for model in tags}
    required = dict.fromkeys((settings.default_model, settings.code_model, settings.fast_model))
    missing = tuple(name for name in required if _with_tag(name) not in installed)
    return OllamaStatus(str(version)[:MAX_VERSION_CHARACTERS], missing)


async def log_availability(host: str | None, settings: AgentSettings) -> None:
    """Log at start-up which models are available. The service starts without them."""
    if host is None:
        log.info("agent_without_models", reason="OLLAMA_HOST is not set")
        return
    try:
        status = await probe_ollama(host, settings)
    except Exception as error:
        log.warning("agent_models_unreachable", variable="OLLAMA_HOST", reason=type(error).__name__)
        return
    if status.missing_models:
        log.warning("agent_models_missing", missing=status.missing_models, hint=status.pull_hint())
    else:
        log.info("agent_models_ready", version=status.version)


def _with_tag(name: str) -> str:
    """The model name with its tag, which is `latest` by default."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"

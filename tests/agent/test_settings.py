"""Models and time limits come from the environment; invalid values are refused with the name of the variable."""

from collections.abc import Callable
from typing import Any

import pytest

from service import config
from service.agent.ollama_client import log_availability, probe_ollama
from service.agent.settings import AgentSettings
from service.errors import StartupError
from tests.agent.conftest import CODE, FAST, NAMES, WORDS
from tests.support.doubles.ollama_double import ollama
from tests.support.processes.clean_environment import clean_environment

CHOSEN = AgentSettings.model_construct(**NAMES)


def test_defaults() -> None:
    with clean_environment(DEFAULT_MODEL="", CODE_MODEL="", FAST_MODEL=""):
        settings = config.load()
    assert settings.process.ollama_host is None
    assert settings.agent.default_model and settings.agent.code_model and settings.agent.fast_model
    assert (settings.agent.timeout_s, settings.agent.step_timeout_s) == (60, 30)


def test_the_environment() -> None:
    models = {"DEFAULT_MODEL": WORDS, "CODE_MODEL": "hf.co/lab/coder:Q4_K_M", "FAST_MODEL": FAST}
    with clean_environment(OLLAMA_HOST="ollama", REELMILL_AGENT_TIMEOUT="9", **models):
        settings = config.load()
    assert settings.process.ollama_host == "http://ollama:11434"
    assert (settings.agent.code_model, settings.agent.timeout_s) == ("hf.co/lab/coder:Q4_K_M", 9)
    assert settings.agent.step_timeout_s == 4.5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OLLAMA_HOST", "http://ollama:secret"),
        ("OLLAMA_HOST", "ftp://secret"),
        ("CODE_MODEL", "secret; rm -rf /"),
        ("REELMILL_AGENT_TIMEOUT", "0"),
        ("REELMILL_QUERY_AUDIT_DAYS", "secret"),
    ],
)
def test_what_cannot_be(variable: str, value: str) -> None:
    with clean_environment(**{variable: value}), pytest.raises(StartupError, match=variable) as refused:
        config.load()
    assert "secret" not in str(refused.value)


@pytest.mark.anyio
async def test_what_is_there() -> None:
    with ollama(CODE, FAST) as double:
        found = await probe_ollama(double.host, CHOSEN)
        assert found.missing_models == (WORDS,) and found.pull_hint() == f"missing models: ollama pull {WORDS}"
        assert (await probe_ollama(double.host.removeprefix("http://"), CHOSEN)).version == found.version
    with ollama(CODE, FAST, WORDS) as double:
        assert (await probe_ollama(double.host, CHOSEN)).missing_models == ()


@pytest.mark.anyio
async def test_the_start_tells_and_never_fails(log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    await log_availability(None, CHOSEN)
    with ollama(CODE, FAST) as double:
        await log_availability(double.host, CHOSEN)
    await log_availability(double.host, CHOSEN)
    told = {line["event"]: line for line in log_lines() if line["event"].startswith("agent_")}
    assert list(told) == ["agent_without_models", "agent_models_missing", "agent_models_unreachable"]
    assert told["agent_models_missing"]["level"] == told["agent_models_unreachable"]["level"] == "warning"
    assert WORDS in told["agent_models_missing"]["hint"]

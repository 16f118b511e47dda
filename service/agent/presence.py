"""Whether Ollama is there, and has the models."""

from dataclasses import dataclass

import httpx
import structlog

from service.agent.settings import AgentSettings

log = structlog.get_logger("service.agent")
PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class OllamaStatus:
    """An Ollama that answered."""

    version: str
    missing_models: tuple[str, ...]

    def pull_hint(self) -> str:
        """How an operator gets what is missing."""
        return "missing models: " + ", ".join(f"ollama pull {name}" for name in self.missing_models)


async def probe_ollama(host: str, settings: AgentSettings) -> OllamaStatus:
    """Raises httpx.HTTPError, KeyError, ValueError: nothing there, or not an Ollama."""
    base = (host if "://" in host else f"http://{host}").rstrip("/")
    async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S) as client:
        version = (await client.get(f"{base}/api/version")).raise_for_status().json()["version"]
        tags = (await client.get(f"{base}/api/tags")).raise_for_status().json()["models"]
    there = {model["name"] for model in tags}
    wanted = dict.fromkeys((settings.default_model, settings.code_model, settings.fast_model))
    return OllamaStatus(str(version), tuple(name for name in wanted if _with_tag(name) not in there))


async def log_availability(host: str | None, settings: AgentSettings) -> None:
    """Once at the start, for the log: without models only common questions are answered, and the service starts."""
    if host is None:
        log.info("agent_without_models", reason="OLLAMA_HOST is not set")
        return
    try:
        found = await probe_ollama(host, settings)
    except Exception as error:
        log.warning("agent_models_unreachable", variable="OLLAMA_HOST", reason=type(error).__name__)
        return
    if found.missing_models:
        log.warning("agent_models_missing", missing=found.missing_models, hint=found.pull_hint())
    else:
        log.info("agent_models_ready", version=found.version)


def _with_tag(name: str) -> str:
    """A name without a tag means `latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"

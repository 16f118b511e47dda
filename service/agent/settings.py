"""Settings of the agent: model names and time limits, read from the environment."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from service.environment import EnvironmentSettings

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}$")]
# The default port of OLLAMA_HOST by scheme, as in the ollama client.
DEFAULT_PORTS = {"": 11434, "http": 80, "https": 443}


class AgentSettings(EnvironmentSettings):
    """The models of the agent and its limits."""

    default_model: ModelName = Field(
        default="llama3.1:8b", validation_alias="DEFAULT_MODEL", description="model that words the agent's answers"
    )
    code_model: ModelName = Field(
        default="qwen2.5-coder:7b",
        validation_alias="CODE_MODEL",
        description="model that writes the agent's guarded queries",
    )
    fast_model: ModelName = Field(
        default="llama3.2:3b",
        validation_alias="FAST_MODEL",
        description="model that tells what kind of question the agent was asked",
    )
    timeout_s: float = Field(
        default=60, gt=0, le=600, validation_alias="REELMILL_AGENT_TIMEOUT", description="seconds to answer a question"
    )
    keep_alive: str = "30m"  # that the model server keeps a model loaded after a question
    step_timeout_s: float = Field(default_factory=lambda data: data["timeout_s"] / 2)  # leaves time for another step
    max_rows: int = 100  # of one answer
    temperature: float = 0.0  # of a first attempt
    seed: int = 0


def ollama_url(host: str) -> str:
    """OLLAMA_HOST as a URL with scheme and port. Raises ValueError, whose message does not contain the value."""
    scheme, _, rest = host.rpartition("://")
    try:
        parts = urlsplit(f"{scheme or 'http'}://{rest}")
        name, port = parts.hostname, parts.port or DEFAULT_PORTS[scheme]
    except (ValueError, KeyError):
        raise ValueError("must be host:port or an http or https URL") from None
    name = name or "127.0.0.1"
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}:{port}{parts.path.rstrip('/')}"

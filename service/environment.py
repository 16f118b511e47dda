"""The base of every settings class: how variables of the environment become fields."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class EnvironmentSettings(BaseSettings):
    """Frozen. An empty variable counts as unset; tests may name a field by its own name."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

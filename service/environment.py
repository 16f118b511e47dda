"""Base of all settings classes: how environment variables become fields."""

from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict


class DocumentedVariables(EnvSettingsSource):
    """Reads only the variables named by `validation_alias`. pydantic-settings would also read a field's own name:
    `HOME` for `home`, `TOKEN` for `token`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        return (None if key == field_name else value), key, is_complex


class EnvironmentSettings(BaseSettings):
    """Frozen. An empty variable counts as unset. A field without a `validation_alias` is a constant that only code,
    such as a test, can override."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, DocumentedVariables(settings_cls)

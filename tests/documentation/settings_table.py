"""The table of docs/settings.md, made from the settings classes that service/config.py composes."""

import dataclasses
from collections.abc import Iterator
from typing import get_type_hints

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from service.config import Settings

HEAD = "| variable | meaning | default |\n| --- | --- | --- |\n"


def settings_classes() -> list[type[BaseSettings]]:
    """In the order in which Settings names them."""
    hints = get_type_hints(Settings)
    return [hints[field.name] for field in dataclasses.fields(Settings)]


def fields() -> dict[str, FieldInfo]:
    """Variable -> field. One that two areas read stands once; both must say the same about it."""
    found: dict[str, FieldInfo] = {}
    for variable, field in _all_fields():
        known = found.setdefault(variable, field)
        assert known.description == field.description, f"{variable} is described in two ways"
    return found


def variables() -> list[str]:
    return sorted(fields())


def _all_fields() -> Iterator[tuple[str, FieldInfo]]:
    for settings in settings_classes():
        for name, field in settings.model_fields.items():
            if (variable := variable_of(field)) is not None:
                assert field.description, f"{settings.__name__}.{name}: {variable} has no description"
                yield variable, field


def variable_of(field: FieldInfo) -> str | None:
    """The variable that sets it, by its present name; None for a constant."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else alias  # type: ignore[return-value]


def settings_table() -> str:
    return HEAD + "".join(f"| `{name}` | {' | '.join(_describe_field(field))} |\n" for name, field in fields().items())


def _describe_field(field: FieldInfo) -> tuple[str, str]:
    """(meaning, default); a description may end with what holds when the variable is unset."""
    meaning, _, unset = (field.description or "").partition("; unset: ")
    return _escape_cell(meaning), _escape_cell(unset or _default(field))


def _default(field: FieldInfo) -> str:
    match field.default:
        case None | ():
            return "not set"
        case bool(value):
            return f"`{int(value)}`"
        case value:
            return f"`{value}`"


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|")

"""docs/queries.md says what the code does."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from service.guard.document import EXAMPLES, AggregateFunction, Document
from service.guard.policy import RULE_STAGES, Guardrails, validate
from service.guard.rules import semantics
from service.guard.rules.rule import RUNTIME_LIMITS
from service.guard.schema import COLUMN_TYPES, Tables
from service.guard.settings import GuardSettings

PAGE = (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8")
DEFAULTS = GuardSettings.model_construct()
BLOCKS = [json.loads(block) for block in re.findall("```json\n(.*?)```", PAGE, re.DOTALL)]


def _rows(heading: str) -> list[str]:
    """The rows of the table with this header."""
    lines = PAGE[PAGE.index(heading) :].splitlines()
    return lines[2 : lines.index("")] if "" in lines else lines[2:]


def test_every_rule_is_told_with_its_default() -> None:
    stages = (rule for stage in RULE_STAGES for rule in stage)
    rules = (semantics.TABLE, *stages, semantics.CURSOR, *RUNTIME_LIMITS)
    expected = [
        f"| `{rule.name}` | {rule.bound(DEFAULTS)} | {rule.description} | {rule.suggestion} |" for rule in rules
    ]
    assert _rows("| rule | limit |") == expected


def test_every_setting_is_told() -> None:
    fields = [field for field in GuardSettings.model_fields.values() if field.validation_alias]
    expected = [f"| `{field.validation_alias}` | {field.default} | {field.description} |" for field in fields]
    assert _rows("| variable | default |") == expected


def test_every_type_is_told_with_its_operators() -> None:
    expected = [
        f"| `{kind.name}` | {kind.description} | {_code(kind.operators)} | {_code(kind.aggregates)} | {'yes' if kind.sortable else 'no'} |"
        for kind in COLUMN_TYPES
    ]
    assert _rows("| type | in JSON |") == expected


def test_every_field_and_function_is_told() -> None:
    assert [row.split("`")[1] for row in _rows("| field | meaning |")] == list(Document.model_fields)
    assert all(f"`{function}`" in PAGE for function in get_args(AggregateFunction))


@pytest.mark.parametrize("example", [*EXAMPLES, *BLOCKS], ids=lambda example: example["table"])
def test_examples_are_allowed(tables: Tables, example: dict[str, object]) -> None:
    assert validate(Document.model_validate(example), tables, Guardrails(DEFAULTS))


def _code(words: tuple[str, ...]) -> str:
    return " ".join(f"`{word}`" for word in words)

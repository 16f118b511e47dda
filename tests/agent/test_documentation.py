"""docs/agent.md agrees with the code."""

import re
from datetime import UTC, datetime
from typing import get_args

import pytest

from service.agent.common_questions import match_intent
from service.agent.prompts import MAX_SAMPLE_BYTES, MAX_SAMPLE_ROWS
from service.agent.renders.options import find_options
from service.agent.session import StepName
from service.agent.settings import AgentSettings
from service.routers.agent.answers import AgentAnswer
from tests.support.source_code import ROOT

PAGE = (ROOT / "docs" / "agent.md").read_text(encoding="utf-8")
LIST = PAGE.partition("## Common questions")[2].partition("## Other questions")[0]


@pytest.mark.parametrize("question", re.findall(r"`([^`]+)`", LIST))
def test_common_questions_are_recognised(question: str) -> None:
    assert match_intent(question) is not None


def test_every_field_step_and_setting_is_told() -> None:
    assert all(f"`{field}`" in PAGE for field in AgentAnswer.model_fields)
    assert all(f"**{step}**" in PAGE for step in get_args(StepName) if step not in ("common", "render"))
    assert all(
        f"`{field.validation_alias}`" in PAGE for field in AgentSettings.model_fields.values() if field.validation_alias
    )
    assert f"at most {MAX_SAMPLE_ROWS} rows and {MAX_SAMPLE_BYTES}" in " ".join(PAGE.split())


IN_WORDS = PAGE.partition("## Renders in words")[2].partition("\n## ")[0]
WORDS_AND_MEMBERS = [
    (words, set(re.findall(r"`([\w.]+)`", row)))
    for row in re.findall(r"^\|.*\|$", IN_WORDS, re.MULTILINE)
    for words in re.findall(r'"([^"]+)"', row)
]


@pytest.mark.parametrize(("words", "members"), WORDS_AND_MEMBERS)
def test_words_of_the_page_are_read_as_it_says(words: str, members: set[str]) -> None:
    fields = find_options(f"render fish, {words}", datetime.now(UTC)).fields
    named = {f"{name}.{part}" for name, value in fields.items() if isinstance(value, dict) for part in value}
    assert fields and (named | fields.keys()) & members, fields


def test_there_are_words_on_the_page() -> None:
    assert len(WORDS_AND_MEMBERS) > 25

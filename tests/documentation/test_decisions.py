"""Every decision names the check that enforces it, and every dependency has a reason."""

import re
import tomllib

import pytest

from tests.support.source_code import ROOT, relative_name

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
REQUIRED_BY_USER = {
    "fastapi",
    "uvicorn",
    "sqlalchemy",
    "asyncpg",
    "aioboto3",
    "python-jose",
    "torch",
    "torchvision",
    "pynvvideocodec",
    "numpy",
    "ollama",
    "structlog",
}


def dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {re.split(r"[\[=<>;!~ ]", line)[0].lower() for lines in lists for line in lines}


def reasons() -> dict[str, str]:
    text = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    return {name.lower(): reason for name, reason in re.findall(r"^- ([\w-]+): (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", [page for page in DECISIONS if page.name != "README.md"], ids=relative_name)
def test_a_decision_names_checks_that_exist(page: object) -> None:
    _, said, checks = page.read_text().partition("**Enforced by**")
    named = re.findall(r"`(tests/[\w/]+\.py)`", checks)
    assert said and named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_a_decision_is_one_page() -> None:
    assert [relative_name(page) for page in DECISIONS if len(page.read_text().splitlines()) > 70] == []


def test_every_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    assert set(reasons()) == dependencies() - REQUIRED_BY_USER
    assert dependencies() >= REQUIRED_BY_USER
    assert [name for name, reason in reasons().items() if len(reason) < 15] == []

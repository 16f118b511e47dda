"""The glossary's words are used, and words of our own invention name nothing in the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source_code import ROOT, relative_name, source_files

GLOSSARY = ROOT / "docs/glossary.md"
TERMS = re.findall(r"^\| \*\*([^*]+)\*\* \|", GLOSSARY.read_text(), re.MULTILINE)

# Words that only this project had for things with a name of their own; as a part of a name, in any case and number.
OUR_OWN_WORDS = (
    *("door", "turnstile", "desk", "inquiry", "errand", "rhythm", "doomed", "goodbye", "guardian"),
    *("foretell", "foretold", "withheld", "wish", "wished", "told", "objected", "laid", "inked"),
)


def corpus() -> str:
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path != GLOSSARY]
    return "\n".join(path.read_text().lower() for path in [*pages, *source_files("service", "kernels")])


def defined_names(path: Path) -> Iterator[str]:
    """Classes, functions, parameters and attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def words_of(name: str) -> set[str]:
    """`RenderDraft` and `render_drafts` are both of render and draft(s)."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return {part.lower() for part in parts} | {part.lower().removesuffix("s") for part in parts}


def test_there_are_some_forty_terms() -> None:
    assert 40 <= len(TERMS) <= 60
    assert len(TERMS) == len(set(TERMS))


def test_every_term_is_used() -> None:
    text = re.sub(r"\s+", " ", corpus())
    assert [term for term in TERMS if term.lower() not in text] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/architecture.md"], ids=relative_name)
def test_readers_are_led_to_it(page: Path) -> None:
    assert "glossary.md)" in page.read_text()


def test_no_name_is_a_word_of_our_own() -> None:
    found = {
        f"{relative_name(path)}: {name}"
        for path in source_files("service", "kernels")
        for name in defined_names(path)
        if words_of(name) & set(OUR_OWN_WORDS)
    }
    assert found == set()


def test_a_word_of_our_own_would_be_noticed() -> None:
    assert words_of("RenderDoors") & set(OUR_OWN_WORDS)
    assert words_of("_told_of_it") & set(OUR_OWN_WORDS)
    assert not words_of("threshold_outdoors") & set(OUR_OWN_WORDS)

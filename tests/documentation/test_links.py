"""Links and paths in the documentation, and pages named in the code, exist."""

import re

import pytest

from tests.support.source_code import ROOT, relative_name, source_files

ROOT_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
PAGES = sorted([*(ROOT / name for name in ROOT_PAGES), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def heading_anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=relative_name)
def test_links_lead_somewhere(page: object) -> None:
    for target in LINK.findall(page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        there = there / "README.md" if there.is_dir() else there
        assert there.is_file(), target
        assert not anchor or anchor in heading_anchors(there.read_text()), target


@pytest.mark.parametrize("page", PAGES, ids=relative_name)
def test_files_that_are_named_exist(page: object) -> None:
    """Paths such as `service/….py` in code quotes."""
    for name in re.findall(r"`((?:service|tests|kernels|docs)/[\w/]+\.(?:py|md))`", page.read_text()):
        assert (ROOT / name).is_file(), name


def test_comments_refer_to_pages_that_exist() -> None:
    for path in source_files():
        for name in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text()):
            assert (ROOT / name).is_file(), f"{relative_name(path)} refers to {name}"


def test_every_page_can_be_found_from_the_readme() -> None:
    found, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found or page.suffix != ".md":
            continue
        found.add(page)
        targets = [target.partition("#")[0] for target in LINK.findall(page.read_text()) if "://" not in target]
        paths = [(page.parent / target).resolve() for target in targets if target]
        waiting += [path / "README.md" if path.is_dir() else path for path in paths]
    assert set(PAGES) <= found

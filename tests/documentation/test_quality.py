"""The tables of docs/quality.md show the settings that the encoders get."""

from pathlib import Path

import pytest

from tests.documentation.quality import effort_table, quality_table


@pytest.mark.parametrize("table", [quality_table(), effort_table()])
def test_the_tables_are_the_mapping(table: str) -> None:
    page = (Path(__file__).parents[2] / "docs/quality.md").read_text()
    assert table in page, "run python -m tests.documentation.quality and paste what it prints"

"""The table of docs/quality.md shows the settings that the encoders get."""

from pathlib import Path

from tests.documentation.quality import quality_table


def test_the_table_is_the_mapping() -> None:
    page = (Path(__file__).parents[2] / "docs/quality.md").read_text()
    assert quality_table() in page, "run python -m tests.documentation.quality and paste what it prints"

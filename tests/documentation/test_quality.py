"""The page of the quality scale shows what the encoders are really told."""

from pathlib import Path

from tests.documentation.quality import quality_table


def test_the_table_is_the_mapping() -> None:
    page = (Path(__file__).parents[2] / "docs/quality.md").read_text()
    assert quality_table() in page, "run python -m tests.documentation.quality and paste what it prints"

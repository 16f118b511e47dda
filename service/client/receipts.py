"""The receipt of a render: what became of every planned frame."""

import importlib
import json
from collections.abc import Iterable
from typing import Any

from service.client.errors import UnexpectedAnswer


class Receipt(list[dict[str, Any]]):
    """One line for each planned frame, in order; `summary` is the receipt's last."""

    def __init__(self, lines: Iterable[dict[str, Any]], summary: dict[str, Any]) -> None:
        super().__init__(lines)
        self.summary = summary

    @classmethod
    def parse(cls, text: bytes) -> "Receipt":
        """NDJSON. Raises UnexpectedAnswer."""
        try:
            lines = [json.loads(line) for line in text.splitlines()]
            return cls(lines[:-1], lines[-1]["summary"])
        except (ValueError, LookupError, TypeError) as error:
            raise UnexpectedAnswer(200, "this is no receipt") from error

    def to_pandas(self) -> Any:
        """A DataFrame with a row for each frame. pandas must be installed."""
        return importlib.import_module("pandas").DataFrame(list(self))

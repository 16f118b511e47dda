"""Find the datasets and experiments that a question refers to by name or id."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.agent.session import QuerySession

Row = dict[str, Any]
DOUBLE_QUOTES, SINGLE_QUOTES = '"\u201c\u201d\u201e\u00ab\u00bb`', "'\u2018\u2019"
# Between double quotes up to the next one; between single ones, which also are apostrophes, as long as a name may be.
QUOTED_NAME = re.compile(
    rf"[{DOUBLE_QUOTES}]([^{DOUBLE_QUOTES}]+)[{DOUBLE_QUOTES}]"
    rf"|(?<!\w)[{SINGLE_QUOTES}](.{{1,200}}?)[{SINGLE_QUOTES}](?!\w)"
)
NOUN_AFFIXES = re.compile(
    r"^(?:the\s+|my\s+)?(?:experiments?|datasets?)\s+|\s{1,9}(?:experiments?|datasets?)$|^(?:the|my)\s+", re.IGNORECASE
)
DATASET_COLUMNS = ["id", "experiment_id", "experiment_name", "name", "state", "frame_count", "created_at"]
UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# The guard refuses longer LIKE patterns; escaping can double the length.
MAX_NAME_LENGTH = 90


@dataclass(frozen=True, slots=True)
class NameReference:
    """The name of an experiment or dataset in a question."""

    text: str
    is_quoted: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """The words as they are, then without "the experiment" around them."""
        bare = self.text if self.is_quoted else NOUN_AFFIXES.sub("", self.text).strip()
        return tuple(dict.fromkeys(name[:MAX_NAME_LENGTH] for name in (self.text, bare) if name))

    @property
    def is_unambiguous(self) -> bool:
        """Whether the words can only be a name, so that no model has to read them."""
        return self.is_quoted or " " not in self.candidates[-1]


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The matching `datasets`, newest first, or the matching `experiments` if they have no datasets."""

    datasets: tuple[Row, ...] = ()
    experiments: tuple[Row, ...] = ()


async def find_by_name(session: QuerySession, name: NameReference) -> LookupResult:
    """Find the datasets or experiments of this name or id that the caller may see."""
    conditions = _match_conditions(name, ("experiment_name", "name"), ("experiment_id", "id"))
    rows = await session.fetch_rows(
        table="datasets", columns=DATASET_COLUMNS, filters={"any": conditions}, order_by=["-created_at"]
    )
    if best := _best_matches(rows, name, (("id", "experiment_id"), ("experiment_name",), ("name",))):
        return LookupResult(datasets=best)
    conditions = _match_conditions(name, ("name",), ("id",))
    rows = await session.fetch_rows(table="experiments", columns=["id", "name"], filters={"any": conditions})
    return LookupResult(experiments=_best_matches(rows, name, (("id",), ("name",))))


def _match_conditions(name: NameReference, texts: Iterable[str], ids: Iterable[str]) -> list[Row]:
    conditions = []
    for candidate in name.candidates:
        pattern = re.sub(r"([\\%_])", r"\\\1", candidate)
        conditions += [{"column": column, "op": "ilike", "value": pattern} for column in texts]
        if UUID_PATTERN.fullmatch(candidate):
            conditions += [{"column": column, "op": "eq", "value": candidate} for column in ids]
    return conditions


def _best_matches(rows: list[Row], name: NameReference, tiers: tuple[tuple[str, ...], ...]) -> tuple[Row, ...]:
    """The rows of the best match: more words first, then experiments before datasets, then the exact case."""
    for candidate in name.candidates:
        for columns in tiers:
            for fold in (str, str.casefold):
                wanted = fold(candidate)
                if hits := [row for row in rows if wanted in (fold(str(row[column])) for column in columns)]:
                    return tuple(hits)
    return ()

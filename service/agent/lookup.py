"""Find what a question calls by name or id: datasets, and experiments that have none."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from service.agent.desk import Desk

Row = dict[str, Any]
DOUBLE, SINGLE = r"[\"\u201c\u201d\u201e\u00ab\u00bb`]", r"['\u2018\u2019]"
QUOTED = re.compile(rf"{DOUBLE}(.+?){DOUBLE}|(?<!\w){SINGLE}(.+?){SINGLE}(?!\w)")
NOUN = re.compile(
    r"^(?:the\s+|my\s+)?(?:experiments?|datasets?)\s+|\s+(?:experiments?|datasets?)$|^(?:the|my)\s+", re.IGNORECASE
)
COLUMNS = ["id", "experiment_id", "experiment_name", "name", "state", "frame_count", "created_at"]
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
NAME_LENGTH = 90
"""Longer ones would be LIKE patterns that the guard refuses, once escaped."""


@dataclass(frozen=True, slots=True)
class Named:
    """What a question calls something: the words as they are, then without "the experiment" around them."""

    words: str
    quoted: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        bare = self.words if self.quoted else NOUN.sub("", self.words).strip()
        return tuple(dict.fromkeys(name[:NAME_LENGTH] for name in (self.words, bare) if name))

    @property
    def plain(self) -> bool:
        """Cannot be anything but a name, so that no model needs to look at it."""
        return self.quoted or " " not in self.candidates[-1]


@dataclass(frozen=True, slots=True)
class Found:
    """`datasets`, newest first, all of the same kind of match; or `experiments` without any."""

    datasets: tuple[Row, ...] = ()
    experiments: tuple[Row, ...] = ()


async def find(desk: Desk, name: Named) -> Found:
    """What the caller may see under this name."""
    conditions = _conditions(name, ("experiment_name", "name"), ("experiment_id", "id"))
    rows = await desk.rows(table="datasets", columns=COLUMNS, filters={"any": conditions}, order_by=["-created_at"])
    if chosen := _best(rows, name, (("id", "experiment_id"), ("experiment_name",), ("name",))):
        return Found(datasets=chosen)
    conditions = _conditions(name, ("name",), ("id",))
    rows = await desk.rows(table="experiments", columns=["id", "name"], filters={"any": conditions})
    return Found(experiments=_best(rows, name, (("id",), ("name",))))


def _conditions(name: Named, texts: Iterable[str], ids: Iterable[str]) -> list[Row]:
    found = []
    for candidate in name.candidates:
        pattern = re.sub(r"([\\%_])", r"\\\1", candidate)
        found += [{"column": column, "op": "ilike", "value": pattern} for column in texts]
        if ID.fullmatch(candidate):
            found += [{"column": column, "op": "eq", "value": candidate} for column in ids]
    return found


def _best(rows: list[Row], name: Named, tiers: tuple[tuple[str, ...], ...]) -> tuple[Row, ...]:
    """The rows of the best match: more words before fewer, experiments before datasets, exact before another case."""
    for candidate in name.candidates:
        for columns in tiers:
            for fold in (str, str.casefold):
                wanted = fold(candidate)
                if hits := [row for row in rows if wanted in (fold(str(row[column])) for column in columns)]:
                    return tuple(hits)
    return ()

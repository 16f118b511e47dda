"""Names in a question that experiments or datasets of the caller have, also misspelt ones."""

import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import islice
from typing import Any

from service.agent.facts.facts import FoundName
from service.agent.session import QuerySession

MAX_NAMES, MAX_WORDS, MAX_CANDIDATES = 6, 8, 100
MIN_LIKENESS = 0.8
# The beginning of a word, with which names are looked up: mistakes are rarer there.
STEM_LENGTH, MIN_WORD_LENGTH = 4, 3
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
# Words that questions have anyhow.
_COMMON_WORDS = """
all and any are can dataset datasets did does each experiment experiments failed for frame frames from give has have how
image images job jobs last latest list made make many mine more most much name named names newest not number of old
older oldest our over please queries query render rendered renders show size source sources tell than that the there
this took total under user users video videos visible was were what when where which who whose with year you
wie viele welche gibt sind combien les des quels cuántos cuáles los las del hay
"""
COMMON_WORDS = frozenset(_COMMON_WORDS.split())


async def find_names(session: QuerySession, question: str) -> tuple[FoundName, ...]:
    """The names that words of the question resemble, best first. Raises the errors of the guard.

    Looked up by the beginnings of the words; if none resembles them, among the newest.
    """
    words = list(dict.fromkeys(_searched_words(question)))[:MAX_WORDS]
    if not words:
        return ()
    contained = {"any": [{"column": "name", "op": "ilike", "value": f"%{word}%"} for word in words]}
    return _resembling(await _list_names(session, contained), question) or _resembling(
        await _list_names(session, {}), question
    )


def without_name(question: str, name: str) -> str:
    """The question without the words of a name, whatever is between them."""
    words = r"[\W_]+".join(map(re.escape, _WORD.findall(name)))
    return re.sub(rf"(?<!\w){words}(?!\w)", " ", question, flags=re.IGNORECASE) if words else question


def _resembling(candidates: list[FoundName], question: str) -> tuple[FoundName, ...]:
    told = [each for each in candidates if not _is_common(each.name)]
    scored = sorted(((_likeness(each.name, question), each) for each in told), key=lambda pair: -pair[0])
    found = (replace(each, is_exact=likeness == 1.0) for likeness, each in scored if likeness >= MIN_LIKENESS)
    return tuple(islice(found, MAX_NAMES))


def _is_common(name: str) -> bool:
    """Whether questions have the words of the name anyhow, as of a dataset that is called frames."""
    return COMMON_WORDS.issuperset(_WORD.findall(name.casefold()))


def _searched_words(question: str) -> Iterator[str]:
    for word in _WORD.findall(question):
        if _HAN.search(word):
            yield from re.findall(r"[0-9A-Za-z]{3,}|[\u3040-\u30ff\u3400-\u9fff]{2}", word)
        elif len(word) >= MIN_WORD_LENGTH and word.casefold() not in COMMON_WORDS:
            yield word[:STEM_LENGTH] if len(word) > STEM_LENGTH else word


async def _list_names(session: QuerySession, filters: dict[str, Any]) -> list[FoundName]:
    """The newest experiments and datasets."""
    newest: dict[str, Any] = {"filters": filters, "order_by": ["-created_at"], "limit": MAX_CANDIDATES}
    experiments = await session.fetch_rows(table="experiments", columns=["id", "name"], **newest)
    datasets = await session.fetch_rows(table="datasets", columns=["id", "name", "experiment_name"], **newest)
    return [
        *(FoundName("experiment", row["name"], row["id"]) for row in experiments),
        *(FoundName("dataset", row["name"], row["id"], row["experiment_name"]) for row in datasets),
    ]


def _likeness(name: str, question: str) -> float:
    """1 if the question has the name, else that of the most similar run of as many words."""
    name, question = " ".join(_WORD.findall(name.casefold())), " ".join(_WORD.findall(question.casefold()))
    if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question) or (_HAN.search(name) and name in question):
        return 1.0
    count, words = name.count(" ") + 1, question.split(" ")
    runs = (" ".join(words[first : first + count]) for first in range(max(1, len(words) - count + 1)))
    return max((SequenceMatcher(None, name, run).ratio() for run in runs), default=0.0)

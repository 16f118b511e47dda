"""Questions that are read without a model: only if every word is understood, and then right."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.agent.facts.facts import Facts, FoundName
from service.agent.facts.question import find_facts
from service.agent.reading.reader import read_question
from service.agent.session import QuerySession, Trace
from service.guard.document import Document
from service.guard.policy import Guardrails, validate
from service.guard.schema import Tables
from service.guard.settings import GuardSettings
from service.ids import Subject
from tests.agent.conftest import ALICE, Lab

NOW = datetime(2026, 11, 30, 20, 30, tzinfo=UTC)
COUNT = {"aggregates": [{"function": "count"}]}


async def read(lab: Lab, question: str) -> dict[str, Any] | None:
    facts = await find_facts(QuerySession(lab.guard, ALICE, Trace(), 100), question, NOW)
    document = read_question(question, await lab.guard.tables(), facts, Subject("alice"))
    return None if document is None else document.model_dump(mode="json", by_alias=True, exclude_unset=True)


def query(table: str, *conditions: tuple[str, str, Any], **more: Any) -> dict[str, Any]:
    filters = [{"column": column, "op": op, "value": value} for column, op, value in conditions]
    return {"table": table, "filters": filters} | more


YESTERDAY = (("created_at", "ge", "2026-11-29T00:00:00Z"), ("created_at", "lt", "2026-11-30T00:00:00Z"))


MORNING = (("created_at", "ge", "2026-11-29T08:00:00Z"), ("created_at", "lt", "2026-11-29T10:00:00Z"))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which renders failed?", query("renders", ("status", "eq", "failed"))),
        ("show me all the datasets", query("datasets")),
        ("how many renders are queued?", query("renders", ("status", "eq", "queued"), **COUNT)),
        ("datasets that are not ready", query("datasets", ("state", "ne", "ready"))),
        ("my private experiments", query("experiments", ("visibility", "eq", "private"), ("owner", "eq", "alice"))),
        ("experiments from yesterday", query("experiments", *YESTERDAY)),
        ("which renders failed since yesterday?", query("renders", YESTERDAY[0], ("status", "eq", "failed"))),
        ("renders from 8 to 10 yesterday", query("renders", *MORNING)),
        (
            "Welche Renders sind gestern von 8 bis 10 Uhr fehlgeschlagen?",
            query("renders", *MORNING, ("status", "eq", "failed")),
        ),
        ("datasets over 2 GB", query("datasets", ("bytes", "gt", 2_000_000_000))),
        ("videos under 300 MB", query("renders", ("video_bytes", "lt", 300_000_000))),
        ("datasets wider than 4K", query("datasets", ("width", "gt", 3840))),
        ("datasets in full HD", query("datasets", ("width", "eq", 1920), ("height", "eq", 1080))),
        ("datasets with more than 1000 frames", query("datasets", ("frame_count", "gt", 1000))),
        ("renders with a priority above 5", query("renders", ("priority", "gt", 5))),
        ("the 3 newest renders", query("renders", order_by=[{"column": "created_at", "direction": "desc"}], limit=3)),
        ("the largest dataset", query("datasets", order_by=[{"column": "bytes", "direction": "desc"}], limit=1)),
        ("number of experiments by owner", query("experiments", **COUNT, group_by=["owner"])),
        ("how many renders per experiment?", query("renders", **COUNT, group_by=["experiment_name"])),
        ("Welche Renders sind fehlgeschlagen?", query("renders", ("status", "eq", "failed"))),
        ("Wie viele Experimente gibt es?", query("experiments", **COUNT)),
        ("les expériences publiques", query("experiments", ("visibility", "eq", "public"))),
        ("¿Qué renders fallaron ayer?", query("renders", *YESTERDAY, ("status", "eq", "failed"))),
        ("有多少实验", query("experiments", **COUNT)),
    ],
)
async def test_it_is_read(lab: Lab, question: str, expected: dict[str, Any]) -> None:
    assert await read(lab, question) == expected


@pytest.mark.anyio
@pytest.mark.parametrize("question", ["renders of fish", "which failed renders has Fish?"])
async def test_a_name_stands_for_its_id(lab: Lab, question: str) -> None:
    found = await read(lab, question)
    assert found is not None and found["filters"][0] == {
        "column": "experiment_id",
        "op": "eq",
        "value": lab.ids["alice fish"],
    }


@pytest.mark.anyio
@pytest.mark.parametrize(
    "question",
    [
        "which renders did not fail and why?",
        "renders without an error",
        "experiments that nobody looked at",
        "experiments except those of bob",
        "datasets with no frames",
        "how many?",
        "renders of wish",
        "the renders of fish and of plant 3",
        "renders of last week or yesterday",
        "renders longer than 5 minutes",
        "make a video of fish",
        "hello",
        "",
    ],
)
async def test_what_is_not_all_understood_is_left_to_a_model(lab: Lab, question: str) -> None:
    assert await read(lab, question) is None


QUESTIONS = ("which renders failed", "how many datasets are ready", "the newest experiment", "datasets over 2 GB")


@pytest.fixture(scope="module")
async def tables(lab: Lab) -> Tables:
    return await lab.guard.tables()


@pytest.mark.anyio
async def test_one_unknown_word_is_enough(tables: Tables) -> None:
    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from(QUESTIONS), st.from_regex("[bcdfghjkpqvxz]{4,9}", fullmatch=True), st.integers(0, 5))
    def is_left(question: str, word: str, place: int) -> None:
        parts = question.split()
        text = " ".join([*parts[:place], word, *parts[place:]])
        assert read_question(text, tables, Facts(), Subject("alice")) is None

    is_left()


@pytest.mark.anyio
async def test_whatever_is_read_the_guard_accepts(tables: Tables) -> None:
    words = [
        "which",
        "how",
        "many",
        "3",
        "newest",
        "largest",
        "failed",
        "public",
        "not",
        "ready",
        "my",
        "renders",
        "experiments",
        "datasets",
        "frames",
        "by",
        "owner",
        "over",
    ]

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.sampled_from(words), max_size=8))
    def is_accepted(chosen: list[str]) -> None:
        document: Document | None = read_question(" ".join(chosen), tables, Facts(), Subject("alice"))
        assert document is None or validate(document, tables, Guardrails(GuardSettings.model_construct()))

    is_accepted()


@pytest.mark.anyio
async def test_two_things_of_one_name_are_left_to_a_model(tables: Tables) -> None:
    twice = tuple(
        FoundName("experiment", "fish", f"0197a3c2-9a44-7b1e-8d0a-61c3ab0be0d{n}", is_exact=True) for n in (1, 2)
    )
    assert read_question("renders of fish", tables, Facts(twice), Subject("alice")) is None
    assert read_question("renders of fish", tables, Facts(twice[:1]), Subject("alice")) is not None

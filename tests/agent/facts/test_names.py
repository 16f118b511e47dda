"""Names in a question, also misspelt ones, among those that the caller can see; and the table it is about."""

from datetime import UTC, datetime

import pytest

from service.agent.facts.facts import Facts
from service.agent.facts.names import find_names
from service.agent.facts.question import find_facts
from service.agent.facts.subjects import guess_table
from service.agent.session import QuerySession, Trace
from service.store.database import Caller
from tests.agent.conftest import ALICE, BOB, Lab


def session(lab: Lab, caller: Caller) -> QuerySession:
    return QuerySession(lab.guard, caller, Trace(), 100)


async def names(lab: Lab, question: str, caller: Caller = ALICE) -> list[tuple[str, str]]:
    return [(found.kind, found.name) for found in await find_names(session(lab, caller), question)]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("which renders has fish?", "fish"),
        ("renders of FISH that failed", "fish"),
        ("the failed ones of plant 3", "Plant 3"),
        ("what about plent 3", "Plant 3"),
        ("Welche Renders hat plant-3?", "Plant 3"),
    ],
)
async def test_a_name_is_found(lab: Lab, question: str, name: str) -> None:
    assert (await names(lab, question))[:1] == [("experiment", name)]


@pytest.mark.anyio
async def test_nothing_of_others_is_found(lab: Lab) -> None:
    assert await names(lab, "which renders has secret?") == []
    assert ("experiment", "secret") in await names(lab, "which renders has secret?", BOB)


@pytest.mark.anyio
@pytest.mark.parametrize("question", ["", "how many are there?", "% _ \\ ' \"", "zzzzqqq", "a b c", "\ud83d\ude00" * 9])
async def test_no_name(lab: Lab, question: str) -> None:
    assert await names(lab, question) == []


@pytest.mark.anyio
async def test_all_facts(lab: Lab) -> None:
    now = datetime(2026, 11, 30, 20, 30, tzinfo=UTC)
    facts = await find_facts(session(lab, ALICE), "the 5 renders of fish over 2 GB in the last 3 days", now)
    assert facts.integers() == (5, 2_000_000_000, 0, 1)
    assert facts.moments() == ("2026-11-27T20:30:00Z", "2026-11-30T20:30:00Z")
    assert facts.as_data() == {
        "names_that_exist": [{"experiment": "fish"}],
        "times": [{"words": "the last 3 days", "ge": "2026-11-27T20:30:00Z", "lt": "2026-11-30T20:30:00Z"}],
        "amounts": [{"words": "2 GB", "bytes": 2_000_000_000}],
    }
    assert Facts().as_data() == {} and Facts().integers() == ()


@pytest.mark.anyio
async def test_the_number_of_a_time_is_no_number_to_compare_with(lab: Lab) -> None:
    for question in ("renders of the last 3 days", "Renders der letzten 3 Tage", "最近3天的视频"):
        facts = await find_facts(session(lab, ALICE), question, datetime(2026, 11, 30, tzinfo=UTC))
        assert len(facts.times) == 1 and facts.numbers == (), question


@pytest.mark.parametrize(
    ("question", "table"),
    [
        ("which renders failed last?", "renders"),
        ("how many experiments are public?", "experiments"),
        ("list the source videos", "sources"),
        ("Welche Experimente gibt es?", "experiments"),
        ("combien d'images illisibles ?", "frames"),
        ("有多少实验", "experiments"),
        ("how many videos has each experiment?", None),
        ("make a video of fish", None),
        ("render fish at 30 fps", None),
        ("hello", None),
    ],
)
def test_the_table(question: str, table: str | None) -> None:
    assert guess_table(question) == table

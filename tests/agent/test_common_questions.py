"""Common questions, answered from a real database without a model."""

import pytest

from service.errors import ServiceUnavailable
from service.ids import Subject
from service.store.database import Caller
from tests.agent.conftest import ALICE, BOB, Lab, add_named

pytestmark = pytest.mark.anyio


async def answer_text(lab: Lab, question: str, caller: Caller = ALICE) -> str:
    reply = await lab.ask(None, question, caller)
    assert reply.models == {} and reply.suggestion is None and reply.document is not None
    assert [step.name for step in reply.steps][:2] == ["common", "query"]
    return reply.answer


async def test_how_many_frames(lab: Lab) -> None:
    assert await answer_text(lab, "how many frames has fish?") == "fish: 12 frames (dataset camera of fish: 12)."
    assert "25 frames (dataset late of Plant 3: 20; dataset camera of Plant 3: 5)" in await answer_text(
        lab, "how many frames has plant 3"
    )
    assert "late of Plant 3: 20" in await answer_text(lab, "number of frames of dataset late")
    assert "12 frames" in await answer_text(lab, f"how many frames has {lab.ids['alice fish']}")
    assert "12 frames" in await answer_text(lab, f"how many frames has {lab.ids['alice fish camera'].upper()}")
    assert (
        await answer_text(lab, "how many frames has bare")
        == "The experiment bare has no datasets, so it has no frames."
    )


async def test_only_what_the_caller_may_see(lab: Lab) -> None:
    assert "3 frames" in await answer_text(lab, "how many frames has fish", BOB)
    for name in ("secret", lab.ids["bob secret"], lab.ids["bob secret camera"], "'se%t'", "no-such"):
        for question in (f"how many frames has {name}", f"list datasets of {name}", f"render {name}"):
            reply = await lab.ask(None, question, ALICE)
            assert reply.rows == [] and "that you may see" in reply.answer and "7" not in reply.answer.replace(name, "")
    admin = Caller(Subject("root"), admin=True)
    assert "7 frames" in await answer_text(lab, "how many frames has secret", admin)


async def test_experiments(lab: Lab) -> None:
    assert await answer_text(lab, "how many experiments are there?") == "There are 3 experiments that you may see."
    assert await answer_text(lab, "how many experiments do I have?", BOB) == "There are 2 experiments that you own."
    latest = await answer_text(lab, "latest 2 experiments")
    assert latest.startswith("The latest 2 experiments: ") and latest.count("(20") == 2
    assert await answer_text(lab, "my latest experiments", Caller(Subject("eve"))) == "You have no experiments."
    assert "There are no experiments" in await answer_text(lab, "latest experiments", Caller(Subject("eve")))


async def test_datasets(lab: Lab) -> None:
    assert await answer_text(lab, "list datasets of fish") == "1 dataset: camera of fish (12 frames, ready)."
    assert (await answer_text(lab, "which datasets has 'Plant 3'?")).startswith(
        "2 datasets: late of Plant 3 (20 frames"
    )
    assert await answer_text(lab, "datasets of bare") == "The experiment bare has no datasets."


async def test_a_render_is_prepared(lab: Lab) -> None:
    reply = await lab.ask(None, "make a video of fish with every 5th frame at 24 fps")
    assert reply.suggestion is not None and reply.answer.startswith("Prepared, but not started: dataset camera")
    assert reply.suggestion.request == {
        "experiment_id": lab.ids["alice fish"],
        "dataset_id": lab.ids["alice fish camera"],
        "decimation_factor": 5,
        "fps": 24.0,
    }
    assert "about 3 frames" in reply.answer
    several = await lab.ask(None, "render 'Plant 3'")
    assert several.suggestion is not None and "there are also camera" in several.answer


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("render fish at 1000 fps", "fps: Input should be less than or equal to 240"),
        ("render fish with every 0th frame", "decimation_factor: Input should be greater"),
        ("render camera", "Several experiments"),
        ("render bare", "no datasets"),
        ("render nothing-here", "no experiment or dataset named nothing-here"),
    ],
)
async def test_a_render_that_cannot_be(lab: Lab, question: str, says: str) -> None:
    reply = await lab.ask(None, question)
    assert reply.suggestion is None and says in reply.answer


async def test_a_name_may_have_the_words_of_options(lab: Lab) -> None:
    async with lab.database.service_transaction() as connection:
        lab.ids.update(await add_named(connection, "alice", "run of 2026-11-30 in plasma", 3))
    reply = await lab.ask(None, "render run of 2026-11-30 in plasma at 10 fps")
    assert reply.suggestion is not None
    assert reply.suggestion.request["experiment_id"] == lab.ids["alice run of 2026-11-30 in plasma"]
    assert reply.suggestion.request.keys() == {"experiment_id", "dataset_id", "decimation_factor", "fps"}


async def test_a_misspelt_name_is_understood_and_said(lab: Lab) -> None:
    said = "Nothing has the name that you gave; Plant 3 is like it. "
    assert (await answer_text(lab, "how many frames has Plnt 3?")).startswith(said + "Plant 3: 25 frames")
    assert (await answer_text(lab, "datasets of 'Plnat 3'")).startswith(said + "2 datasets: late")
    reply = await lab.ask(None, "render plamt 3 in 5 seconds, half size")
    assert reply.answer.startswith(said + "Prepared") and reply.suggestion is not None
    assert reply.suggestion.request["scale"] == 0.5
    assert reply.suggestion.request["experiment_id"] == lab.ids["alice Plant 3"]


async def test_a_name_of_others_is_not_found_by_mistakes(lab: Lab) -> None:
    """secret is bob's: alice learns of nothing that is like it."""
    reply = await lab.ask(None, "how many frames has secrte?")
    assert reply.answer == "There is no experiment or dataset named secrte that you may see." and not reply.rows
    bobs = await lab.ask(None, "how many frames has secrte?", BOB)
    assert "secret is like it" in bobs.answer


async def test_the_last_frames_are_counted_from_the_end(lab: Lab) -> None:
    for question, start in (("the last 4 frames of fish", 8), ("the last 4,000 frames of fish", 0)):
        reply = await lab.ask(None, f"render {question}")
        assert reply.suggestion is not None and reply.suggestion.request["frames"] == {"start": start}


async def test_other_questions_need_models(lab: Lab) -> None:
    with pytest.raises(ServiceUnavailable, match="OLLAMA_HOST") as refused:
        await lab.ask(None, "which renders look odd?")
    assert refused.value.extensions["steps"][-1]["outcome"] == "unavailable"


async def test_what_is_no_name_is_read(lab: Lab) -> None:
    """No dataset is called "full HD", but every word of the question is understood."""
    reply = await lab.ask(None, "datasets in full HD")
    assert reply.document is not None and [each.column for each in reply.document.filters] == ["width", "height"]  # type: ignore[union-attr]

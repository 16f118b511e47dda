"""Questions that models answer, with the double of Ollama, the real client and the real guard."""

import json
from typing import Any

import pytest

from service.agent.renders.requests import RenderIntent
from service.routers.videos.request_models import VideoGenerationRequest
from tests.agent.conftest import ALICE, BOB, CODE, FAST, WORDS, Lab
from tests.support.doubles.ollama_double import BrokenReply, HangingReply, OllamaDouble, TextReply

pytestmark = pytest.mark.anyio
FRAME_TOTAL_QUERY = {"table": "datasets", "filters": [], "aggregates": [{"function": "sum", "column": "frame_count"}]}
QUESTION = "what does it all come to?"


def rows_draft(table: str, columns: list[str], *filters: dict[str, Any], limit: int = 100) -> dict[str, Any]:
    """As a model writes it that asks for rows."""
    return {"table": table, "filters": list(filters), "columns": columns, "order_by": [], "limit": limit}


def outcomes(reply: Any) -> list[tuple[str, str]]:
    return [(step.name, step.outcome) for step in reply.steps]


async def test_three_models_and_the_guard(lab: Lab, models: OllamaDouble) -> None:
    models.script(CODE, FRAME_TOTAL_QUERY)
    models.script(WORDS, "You have 37 frames in all.")
    reply = await lab.ask(models.host, QUESTION)
    assert reply.answer == "You have 37 frames in all." and reply.rows == [{"sum_frame_count": 37}]
    assert reply.document is not None and reply.document.table == "datasets" and not reply.truncated
    assert reply.models == {"fast": FAST, "code": CODE, "default": WORDS}
    names = [name for name, outcome in outcomes(reply) if outcome == "done"]
    assert [name for name in names if name != "query"] == ["facts", "classify", "document", "words"]
    assert [step.model for step in reply.steps if step.model] == [FAST, CODE, WORDS]
    assert all(step.ms > 0 for step in reply.steps)
    fast, code, words = models.chat_requests
    assert fast["format"]["properties"]["kind"]["enum"] == [*await lab.guard.tables(), "video", "other"]
    assert {shape["properties"]["table"]["const"] for shape in code["format"]["anyOf"]} == {"datasets"}
    assert words.get("format") is None and '{"sum_frame_count": 37}' in words["messages"][1]["content"]
    assert all(
        body["options"]["temperature"] == 0 and body["options"]["num_ctx"] >= 8192 for body in models.chat_requests
    )


async def test_the_writer_is_told_the_table_and_who_asks(lab: Lab, models: OllamaDouble) -> None:
    models.script(CODE, FRAME_TOTAL_QUERY)
    models.script(WORDS, "Many.")
    await lab.ask(models.host, QUESTION, BOB)
    prompt = models.prompts(CODE)[0]
    for column in (await lab.guard.tables())["datasets"].columns.values():
        assert f"{column.name}: {' or '.join(column.values) or column.type.name}" in prompt
    assert "state: empty or scanning or ready or failed" in prompt
    assert '"bob"' in prompt and len(prompt) < 4 * 2000


async def test_rows_of_others_are_never_told(lab: Lab, models: OllamaDouble) -> None:
    models.script(FAST, {"kind": "experiments"})
    models.script(CODE, rows_draft("experiments", ["name", "owner"], {"column": "name", "op": "ilike", "value": "%s%"}))
    models.script(WORDS, "These.")
    alice, bob = (
        await lab.ask(models.host, "name all of them", ALICE),
        await lab.ask(models.host, "name all of them", BOB),
    )
    assert {row["owner"] for row in alice.rows} == {"alice"} and {row["owner"] for row in bob.rows} == {"bob"}
    assert "secret" not in models.prompts(WORDS)[0] and "secret" in models.prompts(WORDS)[1]


async def test_a_refusal_is_repaired_once(lab: Lab, rogue: OllamaDouble) -> None:
    wrong = rows_draft("datasets", ["owner"], {"column": "state", "op": "eq", "value": "ready"})
    rogue.script(CODE, wrong, FRAME_TOTAL_QUERY)
    rogue.script(WORDS, "37.")
    reply = await lab.ask(rogue.host, QUESTION)
    assert reply.answer == "37." and reply.document is not None and reply.document.table == "datasets"
    assert outcomes(reply)[-4:-1] == [("query", "refused"), ("document", "done"), ("query", "done")]
    first, second = [body for body in rogue.chat_requests if body["model"] == CODE]
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "user"]
    assert json.loads(second["messages"][2]["content"]) == wrong
    reason = second["messages"][3]["content"]
    assert "#/columns/0: there is no such column" in reason and "keep the rest" in reason
    assert first["options"]["temperature"] == 0 < second["options"]["temperature"]
    assert first["options"]["seed"] != second["options"]["seed"], "or it would write the same again"
    (shape,) = second["format"]["anyOf"]
    assert shape["properties"]["filters"] == {"const": wrong["filters"]} and "items" in shape["properties"]["columns"]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM experiments",
        '{"table": "experiments", "filters": [{"column": "name", "op": "~*", "value": "x"}]}',
        '{"table": "experiments", "sql": "DROP TABLE experiments"}',
        '{"table": "pg_shadow"}',
        '{"table": "tasks", "columns": ["payload"]}',
        '{"table": "experiments; DELETE FROM experiments"}',
        "[" * 5000,
        '{"table": "exp',
        "",
        "I cannot help with that.",
    ],
)
async def test_drafts_that_cannot_be_used_end_in_an_honest_answer(lab: Lab, rogue: OllamaDouble, text: str) -> None:
    rogue.script(CODE, text)
    reply = await lab.ask(rogue.host, QUESTION)
    assert reply.answer.startswith("I could not turn this question into a query") and reply.rows == []
    assert reply.document is None and WORDS not in reply.models.values()
    assert len([body for body in rogue.chat_requests if body["model"] == CODE]) == 2
    assert {outcome for name, outcome in outcomes(reply) if name != "read"} <= {"done", "refused", "unusable"}


async def test_a_draft_in_a_fence_and_after_thoughts_is_read(lab: Lab, rogue: OllamaDouble) -> None:
    rogue.script(CODE, f"<think>The user wants …</think>\n```json\n{json.dumps(FRAME_TOTAL_QUERY)}\n```")
    rogue.script(WORDS, "<think>hm</think>37.")
    reply = await lab.ask(rogue.host, QUESTION)
    assert (reply.answer, reply.rows) == ("37.", [{"sum_frame_count": 37}])


@pytest.mark.parametrize(
    "first", [TextReply('{"table": "exper', length=True), BrokenReply('{"table":', "CUDA error"), BrokenReply('{"tab')]
)
async def test_a_truncated_draft_is_asked_for_again(lab: Lab, models: OllamaDouble, first: Any) -> None:
    models.script(CODE, first, FRAME_TOTAL_QUERY)
    models.script(WORDS, "37.")
    reply = await lab.ask(models.host, QUESTION)
    assert reply.answer == "37." and ("document", "unusable") in outcomes(reply)


async def test_more_rows_than_an_answer_has(lab: Lab, models: OllamaDouble) -> None:
    models.script(CODE, rows_draft("frames", ["index", "key"], limit=5))
    models.script(WORDS, "Frames.")
    reply = await lab.ask(models.host, "name the frames", max_rows=5)
    assert len(reply.rows) == 5 and reply.truncated and "and there are more" in models.prompts(WORDS)[0]


async def test_the_limit_is_the_agents(lab: Lab, rogue: OllamaDouble) -> None:
    rogue.script(CODE, {"table": "frames", "limit": 10**9})
    rogue.script(WORDS, "Frames.")
    reply = await lab.ask(rogue.host, "name the frames", max_rows=3)
    assert len(reply.rows) == 3 and reply.document is not None and reply.document.limit == 3


@pytest.mark.parametrize(
    "reply",
    ["", "  \n", BrokenReply("You have", "CUDA error"), BrokenReply("You"), HangingReply("You"), TextReply("\u202e")],
)
async def test_without_words_the_rows_speak(lab: Lab, models: OllamaDouble, reply: Any) -> None:
    models.script(CODE, FRAME_TOTAL_QUERY)
    models.script(WORDS, reply)
    answered = await lab.ask(models.host, QUESTION, step_timeout_s=0.5)
    assert answered.answer == "sum_frame_count 37." and answered.rows == [{"sum_frame_count": 37}]
    assert outcomes(answered)[-1] in (("words", "unusable"), ("words", "timed_out"))


async def test_an_unclear_kind_is_taken_for_data(lab: Lab, rogue: OllamaDouble) -> None:
    rogue.script(FAST, "It is a question about data, I think.")
    rogue.script(CODE, FRAME_TOTAL_QUERY)
    rogue.script(WORDS, "37.")
    reply = await lab.ask(rogue.host, QUESTION)
    assert reply.answer == "37." and ("classify", "unusable") in outcomes(reply)


async def test_a_wish_for_a_video_is_prepared(lab: Lab, models: OllamaDouble) -> None:
    models.script(FAST, {"kind": "video"})
    models.script(CODE, {"experiment": "fish", "fps": 25, "decimation_factor": 4})
    reply = await lab.ask(models.host, "I would love to watch the fish, quickly, in PAL")
    assert reply.suggestion is not None and reply.suggestion.request == {
        "experiment_id": lab.ids["alice fish"],
        "dataset_id": lab.ids["alice fish camera"],
        "fps": 25.0,
        "decimation_factor": 4,
    }
    assert "not started" in reply.answer
    assert [name for name, _ in outcomes(reply) if name in ("classify", "document", "render")] == ["classify", "render"]


async def test_an_impossible_wish_is_repaired(lab: Lab, models: OllamaDouble, rogue: OllamaDouble) -> None:
    rogue.script(FAST, {"kind": "video"})
    rogue.script(CODE, {"experiment": "fish", "fps": 0}, {"experiment": "fish"})
    reply = await lab.ask(rogue.host, "I would love to watch the fish")
    assert reply.suggestion is not None
    assert (reply.suggestion.request["fps"], reply.suggestion.request["decimation_factor"]) == (30.0, 1)


async def test_what_code_reads_no_model_can_change(lab: Lab, models: OllamaDouble) -> None:
    models.script(CODE, {"experiment": "fish", "fps": 25, "decimation_factor": 4})
    models.script(FAST, {"kind": "video"})
    reply = await lab.ask(models.host, "I would love to watch the fishes in 30 seconds, half size")
    assert reply.suggestion is not None
    request = {name: value for name, value in reply.suggestion.request.items() if not name.endswith("_id")}
    assert request == {"duration_seconds": 30.0, "scale": 0.5, "decimation_factor": 4}


async def test_one_name_leaves_a_model_nothing_to_choose(lab: Lab, models: OllamaDouble) -> None:
    reply = await lab.ask(models.host, "I want a nice clip, the first 10 frames of 'Plant 3', lossless")
    assert reply.models == {} and reply.suggestion is not None
    assert reply.suggestion.request["frames"] == {"stop": 10} and reply.suggestion.request["codec"] == "ffv1"
    assert '"the first 10 frames"' in reply.answer


def test_wishes_have_the_bounds_of_the_route() -> None:
    ours, theirs = (model.model_json_schema()["properties"] for model in (RenderIntent, VideoGenerationRequest))
    for field in ("fps", "decimation_factor"):
        number = theirs[field].get("anyOf", [theirs[field]])[0]  # fps may be left out for a duration
        assert all(ours[field][bound] == number[bound] for bound in ("minimum", "maximum"))


async def test_small_talk(lab: Lab, models: OllamaDouble) -> None:
    models.script(FAST, {"kind": "other"})
    models.script(WORDS, "Hello! Ask me about your experiments.")
    reply = await lab.ask(models.host, "hello")
    assert (reply.answer, reply.document, reply.rows) == ("Hello! Ask me about your experiments.", None, [])
    models.script(WORDS, BrokenReply("Hel", "CUDA error"))
    assert "latest experiments" in (await lab.ask(models.host, "hello")).answer


async def test_what_looked_like_a_common_question(lab: Lab, models: OllamaDouble) -> None:
    """No experiment has the name "the newest of mine", so a model reads the question."""
    count = {"table": "frames", "filters": [], "aggregates": [{"function": "count"}]}
    models.script(CODE, count)
    models.script(WORDS, "None.")
    reply = await lab.ask(models.host, "how many frames has the newest of mine?")
    assert reply.answer == "None." and outcomes(reply)[0] == ("common", "not_found")
    assert reply.rows == [{"count": 37}] and FAST not in reply.models.values(), "the words name one table alone"
    settled = await lab.ask(models.host, "how many frames has nothing-here?")
    assert settled.models == {} and "nothing-here" in settled.answer

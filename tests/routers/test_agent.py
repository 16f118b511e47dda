"""POST /api/agent/query over HTTP, with a real database, and without Ollama or with its double."""

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from service.agent.settings import AgentSettings
from service.guard.document import Document
from service.processes.app import create_app
from service.store.tables import renders
from tests.agent.conftest import CODE, FAST, NAMES, WORDS, add_named
from tests.support.doubles.ollama_double import BUSY, BrokenReply, HangingReply, OllamaDouble, ollama
from tests.support.processes.catalogue_api import CatalogueApi, catalogue_api

pytestmark = pytest.mark.anyio
PATH, SCOPE = "/api/agent/query", "agent:ask"
QUESTION = "how is all that I own called?"
NAMES_QUERY = {"table": "experiments", "filters": [], "columns": ["name", "owner"], "order_by": [], "limit": 100}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def plain(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogueApi]:
    """Without Ollama. alice owns fish with 12 frames, bob owns secret with 7."""
    home: Path = tmp_path_factory.mktemp("home")
    async with catalogue_api(postgres_url, home) as api:
        async with api.database.service_transaction() as connection:
            await add_named(connection, "alice", "fish", 12)
            await add_named(connection, "bob", "secret", 7)
        yield api


def api_with_ollama(api: CatalogueApi, host: str, **settings: Any) -> CatalogueApi:
    """The same API with models at `host`."""
    agent = AgentSettings.model_construct(**(NAMES | settings))
    at = dataclasses.replace(api.app.state.resources, ollama_host=host, agent=agent)
    return dataclasses.replace(api, app=create_app(at))


@pytest.fixture
async def double() -> AsyncIterator[OllamaDouble]:
    with ollama(CODE, FAST, WORDS) as found:
        found.script(FAST, {"kind": "experiments"})
        found.script(CODE, NAMES_QUERY)
        found.script(WORDS, "Like that.")
        yield found


async def ask(api: CatalogueApi, query: str, subject: str = "alice", status: int = 200) -> dict[str, Any]:
    async with api.client(subject, SCOPE) as client:
        response = await client.post(PATH, json={"query": query})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == ("application/json" if status == 200 else "application/problem+json")
    return dict(response.json())


async def test_a_common_question_without_ollama(plain: CatalogueApi) -> None:
    answer = await ask(plain, "how many frames has fish?")
    assert set(answer) == {
        "answer",
        "document",
        "rows",
        "truncated",
        "models",
        "steps",
        "suggested_render",
        "estimate",
        "context",
    }
    assert (
        answer["answer"] == "fish: 12 frames (dataset camera of fish: 12)." and answer["rows"][0]["frame_count"] == 12
    )
    assert (answer["models"], answer["suggested_render"], answer["truncated"]) == ({}, None, False)
    assert [(step["name"], step["outcome"], step["model"]) for step in answer["steps"]] == [
        ("common", "done", None),
        ("query", "done", None),
    ]
    async with plain.client("alice", "query:run") as client:
        again = (await client.post("/api/database/query", json=answer["document"])).json()
    assert again["rows"] == answer["rows"] and Document.model_validate(answer["document"])


async def test_a_prepared_render_can_be_sent_and_was_not(plain: CatalogueApi) -> None:
    async def rows() -> Any:
        async with plain.database.service_transaction() as connection:
            return await connection.scalar(select(func.count()).select_from(renders))

    before = await rows()
    wish = (await ask(plain, "make a video of fish with every 4th frame at 24 fps"))["suggested_render"]
    assert set(wish) == {"experiment_id", "dataset_id", "decimation_factor", "fps"} and await rows() == before
    assert (wish["decimation_factor"], wish["fps"]) == (4, 24.0)
    async with plain.client("alice", "videos:render") as client:
        tried = await client.post("/api/videos/generate", json=wish | {"dry_run": True})
    assert tried.status_code == 200 and tried.json()["estimate"]["frames"] == 3


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "#/query", "missing"),
        ({"query": ""}, "#/query", "string_too_short"),
        ({"query": "  \n "}, "#/query", "string_too_short"),
        ({"query": "x" * 4001}, "#/query", "string_too_long"),
        ({"query": 7}, "#/query", "string_type"),
        ({"query": None}, "#/query", "string_type"),
        ({"query": "a\0b"}, "#/query", "value_error"),
        ({"query": "x", "sql": "y"}, "#/sql", "extra_forbidden"),
    ],
)
async def test_a_body_that_cannot_be(plain: CatalogueApi, body: Any, pointer: str, code: str) -> None:
    async with plain.client("alice", SCOPE) as client:
        response = await client.post(PATH, json=body)
    errors = response.json()["errors"]
    assert response.status_code == 422 and [(error["pointer"], error["code"]) for error in errors] == [(pointer, code)]


async def test_scopes(plain: CatalogueApi) -> None:
    for scope, status in (("query:run", 403), ("catalog:read", 403), (SCOPE, 200), ("admin", 200)):
        async with plain.client("alice", scope) as client:
            assert (await client.post(PATH, json={"query": "latest experiments"})).status_code == status
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain.app), base_url="http://test") as stranger:
        assert (await stranger.post(PATH, json={"query": "latest experiments"})).status_code == 401
    async with plain.client("alice", SCOPE) as client:
        assert (await client.get(PATH)).status_code == 405


async def test_two_users_and_an_admin(plain: CatalogueApi, double: OllamaDouble) -> None:
    api = api_with_ollama(plain, double.host)
    alice, bob = await asyncio.gather(ask(api, QUESTION), ask(api, QUESTION, "bob"))
    assert [row["name"] for row in alice["rows"]] == ["fish"] and [row["name"] for row in bob["rows"]] == ["secret"]
    assert "secret" not in str(alice) and "fish" not in str(bob)
    for question in ("how many frames has secret", "render secret", "list datasets of secret"):
        told = await ask(api, question)
        assert told["rows"] == [] and told["suggested_render"] is None and "no experiment or dataset" in told["answer"]
    async with api.client("root", "admin") as client:
        assert len((await client.post(PATH, json={"query": QUESTION})).json()["rows"]) == 2


async def test_steps_and_models(plain: CatalogueApi, double: OllamaDouble) -> None:
    answer = await ask(api_with_ollama(plain, double.host), QUESTION)
    assert answer["answer"] == "Like that." and answer["models"] == {"fast": FAST, "code": CODE, "default": WORDS}
    assert answer["document"] == NAMES_QUERY
    of_models = [(step["name"], step["model"]) for step in answer["steps"] if step["model"]]
    assert of_models == [("classify", FAST), ("document", CODE), ("words", WORDS)]
    assert answer["steps"][0]["name"] == "facts" and answer["steps"][0]["model"] is None


async def test_steps_are_events_when_asked_for(plain: CatalogueApi, double: OllamaDouble) -> None:
    api = api_with_ollama(plain, double.host)
    whole = await ask(api, QUESTION)
    events = await follow(api, {"query": QUESTION})
    assert [name for name, _ in events] == ["step"] * len(whole["steps"]) + ["answer"]
    assert [step["name"] for _, step in events[:-1]] == [step["name"] for step in order_of_ends(whole["steps"])]
    assert {name for name in whole if events[-1][1][name] != whole[name]} <= {"steps", "context"}
    double.script(CODE, HangingReply())
    events = await follow(api_with_ollama(plain, double.host, step_timeout_s=0.3), {"query": QUESTION})
    assert events[-1][0] == "problem" and events[-1][1]["status"] == 504 and events[-1][1]["error_id"]
    async with api.client("alice", SCOPE) as client:
        both = {"Accept": "application/json, text/event-stream"}
        assert (await client.post(PATH, json={"query": "latest experiments"}, headers=both)).json()["answer"]
        refused = await client.post(PATH, json={"query": ""}, headers={"Accept": "text/event-stream"})
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
        assert (await client.post(PATH, json={"query": "x"}, headers={"Accept": "image/png"})).status_code == 406


async def follow(api: CatalogueApi, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    async with api.client("alice", SCOPE) as client:
        response = await client.post(PATH, json=body, headers={"Accept": "text/event-stream"})
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    parts = (part.split("\n") for part in response.text.strip().split("\n\n"))
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


def order_of_ends(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Facts end after the queries that they are looked up with."""
    names = [step["name"] for step in steps]
    first, last = names.index("facts"), names.index("read")
    return [*steps[:first], *steps[first + 1 : last], steps[first], *steps[last:]]


async def test_a_follow_up_refers_to_the_question_before(plain: CatalogueApi, double: OllamaDouble) -> None:
    api = api_with_ollama(plain, double.host)
    first = await ask(api, QUESTION)
    double.script(FAST, BUSY)
    body = {"query": "and which experiments are private?", "context": first["context"]}
    async with api.client("alice", SCOPE) as client:
        second = (await client.post(PATH, json=body)).raise_for_status().json()
    assert second["document"]["table"] == "experiments", "the table is that of the query before"
    messages = double.chat_requests[-2]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert QUESTION in messages[1]["content"] and json.loads(messages[2]["content"]) == NAMES_QUERY


async def test_a_context_is_its_callers_and_ends(plain: CatalogueApi, monkeypatch: pytest.MonkeyPatch) -> None:
    token = (await ask(plain, "how many frames has fish?"))["context"]
    later = time.time() + 3601

    async def is_refused(subject: str, context: Any) -> bool:
        async with plain.client(subject, SCOPE) as client:
            response = await client.post(PATH, json={"query": "latest experiments", "context": context})
        places = [(error["pointer"], error["code"]) for error in response.json().get("errors", [])]
        return response.status_code == 422 and places[0][0] == "#/context"

    assert not await is_refused("alice", token) and not await is_refused("alice", None)
    assert await is_refused("bob", token)
    for wrong in (token[:-1], token[1:], token + "A", "x", "", "\u00e4", "A" * 40_000, 7):
        assert await is_refused("alice", wrong), wrong
    monkeypatch.setattr("service.routers.agent.context.time.time", lambda: later)
    assert await is_refused("alice", token)


async def test_without_ollama_other_questions_are_503(plain: CatalogueApi) -> None:
    problem = await ask(plain, QUESTION, status=503)
    assert "OLLAMA_HOST" in problem["detail"] and problem["type"] == "/problems/unavailable"


async def test_an_ollama_that_is_down_is_503_and_common_questions_are_answered(plain: CatalogueApi) -> None:
    with ollama() as gone:
        host = gone.host
    api = api_with_ollama(plain, host)
    problem = await ask(api, QUESTION, status=503)
    assert "cannot be reached" in problem["detail"] and host not in str(problem)
    assert (problem["steps"][-1]["name"], problem["steps"][-1]["outcome"]) == ("classify", "unavailable")
    assert "1 experiment" in (await ask(api, "how many experiments are there?"))["answer"]


@pytest.mark.parametrize("model", [FAST, CODE])
async def test_a_missing_model_is_503_with_the_remedy(plain: CatalogueApi, double: OllamaDouble, model: str) -> None:
    double.models = tuple(name for name in double.models if name != model)
    problem = await ask(api_with_ollama(plain, double.host), QUESTION, status=503)
    assert f"ollama pull {model}" in problem["detail"]


async def test_a_missing_talker_still_leaves_the_rows(plain: CatalogueApi, double: OllamaDouble) -> None:
    double.models = (FAST, CODE)
    answer = await ask(api_with_ollama(plain, double.host), QUESTION)
    assert answer["answer"] == "name fish, owner alice." and answer["steps"][-1]["outcome"] == "unavailable"
    assert f"ollama pull {WORDS}" in answer["steps"][-1]["detail"]


async def test_a_busy_ollama_is_503_with_retry_after(plain: CatalogueApi, double: OllamaDouble) -> None:
    double.script(FAST, BUSY)
    api = api_with_ollama(plain, double.host)
    async with api.client("alice", SCOPE) as client:
        response = await client.post(PATH, json={"query": QUESTION})
    assert response.status_code == 503 and response.headers["Retry-After"] and "busy" in response.json()["detail"]


@pytest.mark.parametrize("settings", [{"timeout_s": 5, "step_timeout_s": 30}, {"step_timeout_s": 0.3}])
@pytest.mark.parametrize("model", [FAST, CODE])
async def test_deadlines_are_504(plain: CatalogueApi, double: OllamaDouble, settings: Any, model: str) -> None:
    double.script(model, HangingReply())
    problem = await ask(api_with_ollama(plain, double.host, **settings), QUESTION, status=504)
    limit = min(settings.values())
    assert problem["type"] == "/problems/timed-out" and f"{limit:g} s" in problem["detail"]
    assert problem["steps"][-1]["model"] == model and problem["steps"][-1]["outcome"] == "timed_out"


async def test_what_was_found_in_time_is_told(plain: CatalogueApi, double: OllamaDouble) -> None:
    double.script(WORDS, HangingReply("Li"))
    answer = await ask(api_with_ollama(plain, double.host, timeout_s=2), QUESTION)
    assert answer["answer"] == "name fish, owner alice." and answer["steps"][-1]["outcome"] == "timed_out"


async def test_nothing_of_the_models_errors_is_told(plain: CatalogueApi, double: OllamaDouble) -> None:
    double.script(CODE, BrokenReply("{", "CUDA error at /opt/ollama/secret.cu:17"))
    answer = await ask(api_with_ollama(plain, double.host), QUESTION)
    assert "secret.cu" not in str(answer) and answer["document"] is None
    assert answer["answer"].startswith("I could not turn this question into a query")


async def test_questions_do_not_wait_for_each_other(plain: CatalogueApi, double: OllamaDouble) -> None:
    double.script(FAST, HangingReply())
    api = api_with_ollama(plain, double.host, timeout_s=20)
    slow = asyncio.create_task(ask(api, QUESTION))
    while not double.chat_requests:
        await asyncio.sleep(0.01)
    assert "12 frames" in (await ask(api, "how many frames has fish"))["answer"] and not slow.done()
    slow.cancel()


async def test_health_tells_of_the_models(plain: CatalogueApi, double: OllamaDouble) -> None:
    async def check(api: CatalogueApi) -> tuple[str, str]:
        async with api.client("alice", "ops:read") as client:
            found = (await client.get("/health")).json()["checks"]["ollama"]
        return found["status"], found["detail"]

    assert (await check(plain))[0] == "absent"
    assert (await check(api_with_ollama(plain, double.host)))[0] == "ok"
    double.models = (FAST, CODE)
    assert await check(api_with_ollama(plain, double.host)) == ("degraded", f"missing models: ollama pull {WORDS}")


async def test_the_lifespan_announces_and_closes(plain: CatalogueApi, double: OllamaDouble, tmp_path: Path) -> None:
    """The service starts although Ollama is unreachable."""
    with ollama() as gone:
        host = gone.host
    api = api_with_ollama(plain, host)
    async with api.app.router.lifespan_context(api.app):
        assert "1 experiment" in (await ask(api, "how many experiments are there?"))["answer"]


async def test_models_are_loaded_before_the_first_question(plain: CatalogueApi, double: OllamaDouble) -> None:
    api = api_with_ollama(plain, double.host, keep_alive="45m")
    async with api.app.router.lifespan_context(api.app):
        while len(double.chat_requests) < 3:
            await asyncio.sleep(0.01)
    assert {body["model"] for body in double.chat_requests} == {FAST, CODE, WORDS}
    assert all(body["messages"] == [] and body["keep_alive"] == "45m" for body in double.chat_requests)


async def test_figures(plain: CatalogueApi) -> None:
    async def figure() -> float:
        async with plain.client("ops", "ops:read") as ops:
            lines = (await ops.get("/metrics")).text.splitlines()
        wanted = 'reelmill_agent_questions_total{kind="common",outcome="answered"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(wanted))

    before = await figure()
    await ask(plain, "latest experiments")
    assert await figure() == before + 1


async def test_the_document_tells_it(plain: CatalogueApi) -> None:
    operation = plain.app.openapi()["paths"][PATH]["post"]
    assert {"200", "401", "403", "422", "429", "503", "504"} <= set(operation["responses"])
    answer = plain.app.openapi()["components"]["schemas"]["AgentAnswer"]["properties"]
    assert "VideoGenerationRequest" in str(answer["suggested_render"]) and "Document" in str(answer["document"])

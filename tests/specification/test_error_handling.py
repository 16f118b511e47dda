"""Requirement: Error Handling."""

import asyncio
from datetime import timedelta

import asyncpg
import httpx

from tests.specification.scenario import scenario
from tests.support.processes.api_process import ApiProcess
from tests.support.processes.running_service import SCOPES, RunningService


@scenario("Validation error")
def test_validation_error(alice: httpx.Client) -> None:
    answer = alice.post("/api/videos/generate", json={"decimation_factor": 0, "fps": 1e9, "colour": "red"})
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert {"type", "title", "status", "detail", "instance"} <= set(problem)
    places = {place["pointer"]: place["detail"] for place in problem["errors"]}
    assert set(places) == {"#/experiment_id", "#/decimation_factor", "#/fps", "#/colour"}
    assert all(places.values())


@scenario("Database error")
def test_database_error(api: ApiProcess, database_url: str) -> None:
    """A query that fails for a reason that nobody foresaw: its table has another name now."""
    asyncio.run(_rename_table(database_url))
    with api.client() as client:
        answer = client.get("/api/experiments")
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (500, 500)
    assert not any(
        word in answer.text.lower() for word in ("select", "experiments_", "relation", "asyncpg", "undefined")
    )
    assert "logged" in problem["detail"]
    line = api.wait_for_log_line(error_id=problem["error_id"], event="problem")
    assert (line["level"], line["request"]["path"]) == ("error", "/api/experiments")
    assert "UndefinedTable" in str(line) and "experiments.py" in str(line), "the cause, and the stack down to our code"


async def _rename_table(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER TABLE experiments RENAME TO elsewhere")
    await connection.close()


@scenario("Authentication error")
def test_authentication_error(service: RunningService) -> None:
    expired = service.token("alice", SCOPES, timedelta(seconds=-60))
    for token, told in ((expired, "token expired"), ("no.such.token", "invalid token"), (expired + "x", "token")):
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{service.url}/api/experiments", headers=headers, trust_env=False)
        assert (answer.status_code, told in answer.json()["detail"]) == (401, True)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

"""Requirement: Logging and Monitoring."""

import asyncio
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import asyncpg
import httpx

from tests.specification.scenario import scenario
from tests.support.doubles.ollama_double import ollama
from tests.support.processes.api_process import ApiProcess, api_process

MODELS = dict.fromkeys(("DEFAULT_MODEL", "CODE_MODEL", "FAST_MODEL"), "talker:8b")


@scenario("Request logging")
def test_request_logging(api: ApiProcess) -> None:
    with api.client("camera-lab") as client:
        client.get("/api/experiments", params={"limit": 3}).raise_for_status()
    line = api.wait_for_log_line(path="/api/experiments", event="request")
    assert (line["method"], line["user"], line["status"]) == ("GET", "camera-lab", 200)
    assert line["latency_ms"] > 0
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert all(isinstance(entry, dict) for entry in api.log_lines()), "one JSON object a line, uvicorn's included"


@scenario("Error logging")
def test_error_logging(api: ApiProcess, database_url: str) -> None:
    asyncio.run(_rename_table(database_url))
    with api.client("camera-lab") as client:
        problem = client.post("/api/experiments", json={"name": "one"}, params={"debug": "1"}).json()
    line = api.wait_for_log_line(error_id=problem["error_id"], event="problem")
    trace = str(line)
    assert "experiments.py" in trace and "asyncpg" in trace, "the full stack"
    asked = line["request"]
    assert (asked["method"], asked["path"], line["user"]) == ("POST", "/api/experiments", "camera-lab")
    assert "debug" in trace and "one" in trace, "what it takes to ask the same again"
    assert "hunter2" not in api.log.read_text() and "Bearer ey" not in api.log.read_text()


async def _rename_table(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER TABLE experiments RENAME TO elsewhere")
    await connection.close()


@scenario("Health check endpoint")
def test_health_check_endpoint(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        model_server = stack.enter_context(ExitStack())
        double = model_server.enter_context(ollama("talker:8b"))
        running = stack.enter_context(api_process(database_url, tmp_path, OLLAMA_HOST=double.host, **MODELS))
        good = httpx.get(f"{running.url}/health", trust_env=False)
        assert good.status_code == 200
        checks = good.json()["checks"]
        assert {checks[name]["status"] for name in ("database", "object_store", "ollama")} == {"ok"}
        model_server.close()
        bad = running.client().get("/health")  # at once: without a token, the answer may be a second old
        assert (bad.status_code, bad.json()["status"]) == (503, "unhealthy")
        assert bad.json()["checks"]["ollama"]["status"] == "failed"
        assert bad.json()["checks"]["ollama"]["detail"]
        assert bad.json()["checks"]["database"]["status"] == "ok", "one check does not depend on another"

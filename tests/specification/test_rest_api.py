"""Requirement: REST API Endpoints."""

import uuid
from typing import Any

import httpx

from tests.specification.scenario import scenario
from tests.support.data.footage import frame_jpeg
from tests.support.processes import api as steps
from tests.support.processes.running_service import RunningService


@scenario("List experiments endpoint")
def test_list_experiments_endpoint(service: RunningService) -> None:
    with service.client(f"lister-{uuid.uuid4()}") as client:
        names = [f"run {number}" for number in range(5)]
        for name in names:
            client.post("/api/experiments", json={"name": name}).raise_for_status()
        found: list[str] = []
        page: str | None = "/api/experiments?limit=2&sort=created_at&mine=true"
        while page is not None:
            answer = client.get(page).raise_for_status()
            assert isinstance(answer.json(), list) and len(answer.json()) <= 2
            found += [row["name"] for row in answer.json()]
            page = answer.links.get("next", {}).get("url")
        assert found == names


@scenario("Get dataset endpoint")
def test_get_dataset_endpoint(alice: httpx.Client) -> None:
    dataset = steps.make_dataset(alice, {f"f{n}.jpg": frame_jpeg(n) for n in range(3)})
    told = alice.get(f"/api/datasets/{dataset['id']}").raise_for_status().json()
    assert (told["frame_count"], told["formats"], told["width"], told["height"]) == (3, ["jpeg"], 64, 48)
    missing = alice.get(f"/api/datasets/{uuid.uuid4()}")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


@scenario("Database query endpoint")
def test_database_query_endpoint(service: RunningService) -> None:
    name = f"queried {uuid.uuid4()}"
    with service.client("alice", "catalog:read", "catalog:write", "query:run") as alice:
        alice.post("/api/experiments", json={"name": name}).raise_for_status()
        question: dict[str, Any] = {"table": "experiments", "columns": ["name", "owner"], "filters": {"name": name}}
        answer = alice.post("/api/database/query", json=question).raise_for_status().json()
        assert (answer["row_count"], answer["truncated"]) == (1, False)
        assert answer["guardrails"], "the rules it passed, with their figures"
        unknown = alice.post("/api/database/query", json=question | {"table": "pg_shadow"})
        assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "#/table")
        greedy = alice.post("/api/database/query", json=question | {"limit": 10_000_000})
        assert greedy.status_code == 422

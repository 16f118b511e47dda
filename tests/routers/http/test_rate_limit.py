"""A subject that sends too many requests has to wait; others do not."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from pydantic import ValidationError

from service.identity.tokens import issue_token
from service.processes.app import create_app
from service.routers.settings import HttpSettings
from tests.routers.conftest import SECRET, resources, router
from tests.routers.http.test_problems import API, assert_problem

pytestmark = pytest.mark.anyio


def rate_limited_client(rate: str) -> httpx.AsyncClient:
    app = create_app(resources(http=HttpSettings.model_construct(rate_limit=rate)))
    app.include_router(router)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def bearer_headers(subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {issue_token(SECRET, subject, (), timedelta(minutes=5))}"}


async def test_one_subject_is_bounded_and_another_is_not() -> None:
    async with rate_limited_client("3/hour") as client:
        answers = [await client.get(f"{API}/caller", headers=bearer_headers("busy")) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert [answer.headers["ratelimit"].partition(";t=")[0] for answer in answers[:3]] == [
            f'"subject";r={left}' for left in (2, 1, 0)
        ]
        assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"subject";q=3;w=3600'}
        body = assert_problem(answers[3], 429, "too-many-requests")
        assert "REELMILL_RATE_LIMIT" in body["detail"]
        assert 0 < int(answers[3].headers["retry-after"]) <= 3600
        assert (await client.get(f"{API}/caller", headers=bearer_headers("calm"))).status_code == 200


async def test_what_needs_no_token_is_not_counted() -> None:
    async with rate_limited_client("1/hour") as client:
        for _ in range(3):
            answer = await client.get("/health/live")
            assert answer.status_code == 200 and "ratelimit" not in answer.headers
            assert (await client.get(f"{API}/caller")).status_code == 401


async def test_no_limit() -> None:
    async with rate_limited_client("none") as client:
        for _ in range(5):
            answer = await client.get(f"{API}/caller", headers=bearer_headers("busy"))
            assert answer.status_code == 200 and "ratelimit" not in answer.headers


async def test_the_next_window_starts_at_zero() -> None:
    async with rate_limited_client("1/second") as client:
        first = [await client.get(f"{API}/caller", headers=bearer_headers("busy")) for _ in range(2)]
        assert [answer.status_code for answer in first] == [200, 429]
        await asyncio.sleep(1.1)
        assert (await client.get(f"{API}/caller", headers=bearer_headers("busy"))).status_code == 200


@pytest.mark.parametrize("value", ["often", "0.5/x", "10 per fortnight"])
def test_a_rate_that_cannot_be_read_is_refused_at_start(value: str) -> None:
    with pytest.raises(ValidationError, match="600/minute"):
        HttpSettings(REELMILL_RATE_LIMIT=value)  # type: ignore[call-arg]

"""A subject that sends too many requests has to wait; others do not."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from pydantic import ValidationError

from service.identity.tokens import issue_token
from service.processes.app import create_app
from service.routers.http.rate_limit import client_network
from service.routers.settings import HttpSettings
from tests.routers.conftest import SECRET, resources, router
from tests.routers.http.test_problems import API, assert_problem
from tests.support.patience import PATIENCE_S

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
        for status in (200, 429, 200):  # two may lie in different seconds
            async with asyncio.timeout(PATIENCE_S):
                while (await client.get(f"{API}/caller", headers=bearer_headers("busy"))).status_code != status:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("value", ["often", "0.5/x", "10 per fortnight"])
def test_a_rate_that_cannot_be_read_is_refused_at_start(value: str) -> None:
    with pytest.raises(ValidationError, match="600/minute"):
        HttpSettings(REELMILL_RATE_LIMIT=value)  # type: ignore[call-arg]


class HeldRequests:
    """An app with a route that answers when it is told to, under limits for 16 connections."""

    def __init__(self, path: str) -> None:
        self.http = HttpSettings.model_construct(max_connections=16)
        self.app, self.go_on = create_app(resources(http=self.http)), asyncio.Event()
        self.under_way: list[asyncio.Task[httpx.Response]] = []

        @self.app.get(path)
        async def held() -> str:
            await self.go_on.wait()
            return "done"

    async def ask(self, path: str, subject: str = "busy", address: str = "203.0.113.5") -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=bearer_headers(subject))

    async def hold(self, count: int, *arguments: str) -> None:
        """Begin so many requests."""
        self.under_way += [asyncio.create_task(self.ask(*arguments)) for _ in range(count)]
        for _ in range(50):  # each passes the middleware without waiting for anything but the loop
            await asyncio.sleep(0)

    async def finish(self) -> set[int]:
        self.go_on.set()
        return {answer.status_code for answer in await asyncio.gather(*self.under_way)}


async def test_one_address_has_few_requests_under_way() -> None:
    held = HeldRequests("/problems/of/all")
    await held.hold(held.http.connections_per_address, "/problems/of/all")
    refused = await held.ask("/problems", address="203.0.113.5")
    assert_problem(refused, 429, "too-many-requests")
    assert refused.headers["retry-after"] == "1"
    assert (await held.ask("/problems", address="203.0.113.6")).status_code == 200
    await held.hold(2 * held.http.connections_per_address, "/problems/of/all", "busy", "127.0.0.1")
    assert await held.finish() == {200}, "this machine's own address is not limited"
    assert (await held.ask("/problems", address="203.0.113.5")).status_code == 200


async def test_event_streams_of_a_subject_and_of_all() -> None:
    path, held = "/api/videos/held/events", HeldRequests("/api/videos/{name}/events")
    share = held.http.event_streams_per_subject
    await held.hold(share, path, "busy", "127.0.0.1")
    refused = await held.ask(path, "busy", "127.0.0.1")
    assert_problem(refused, 429, "too-many-requests")
    assert refused.headers["retry-after"] == "10"
    await held.hold(held.http.max_event_streams - share, path, "calm", "127.0.0.1")
    assert_problem(await held.ask(path, "third", "127.0.0.1"), 503, "unavailable")
    assert (await held.ask("/problems", "busy", "127.0.0.1")).status_code == 200, "other requests are not concerned"
    assert await held.finish() == {200}
    assert (await held.ask(path, "busy", "127.0.0.1")).status_code == 200


def test_a_hundred_open_pages_of_one_user_follow_their_renders() -> None:
    assert HttpSettings.model_construct().event_streams_per_subject >= 100


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("9" * 100_000, "9" * 64),
    ],
)
def test_what_counts_as_one_client(address: str, network: str) -> None:
    assert client_network(address) == network

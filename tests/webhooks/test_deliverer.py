"""Webhooks through the real queue: sent when a render ends, tried again, given up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from service.ids import RenderId, Subject
from service.jobs.retries import RetryClass
from service.store import webhook_secrets
from service.store.database import Caller, Database
from service.store.renders import lifecycle, requesters
from service.store.webhook_secrets import SigningSecret
from service.webhooks.deliverer import WebhookDeliverer, choose_keys
from service.webhooks.delivery import DeliveryError
from service.webhooks.settings import WebhookSettings
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.data.footage import add_footage
from tests.support.doubles.webhook_receiver import webhook_receiver
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor, wait_until_ended
from tests.support.servers.databases import fresh_database
from tests.webhooks.test_delivery import KEY, SECRET, check_signature

pytestmark = pytest.mark.anyio
SETTINGS = WebhookSettings.model_construct(secret=SECRET, allow_private=True, timeout_s=5.0)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with fresh_database(postgres_url) as database:
        yield database


@asynccontextmanager
async def running_deliverer(
    database: Database, settings: WebhookSettings = SETTINGS, attempts: int = 4
) -> AsyncIterator[None]:
    retries = RetryClass(gaps_s=[0.05] * (attempts - 1))
    running = asyncio.create_task(WebhookDeliverer(database, settings, "w", retries).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def add_cancelled_render(database: Database, url: str, listener: str = "alice") -> RenderId:
    """A render that somebody listens to, ended without a worker."""
    async with database.service_transaction() as connection:
        render = await add_render(connection, await add_dataset(connection, 2))
        await lifecycle.register_webhook(connection, render, Subject(listener), url)
    async with database.service_transaction() as connection:
        assert await lifecycle.cancel_render(connection, render)
    return render


async def wait_for_tasks(database: Database, until: set[str]) -> list[Any]:
    """The webhook tasks when all of them are in one of these states."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with database.service_transaction() as connection:
                query = text("SELECT state, starts, error FROM tasks WHERE kind = 'webhook'")
                rows = list((await connection.execute(query)).mappings().all())
            if rows and {row["state"] for row in rows} <= until:
                return rows
            await asyncio.sleep(0.05)


async def test_a_finished_render_is_told(database: Database, tmp_path: Path) -> None:
    with webhook_receiver() as at:
        async with database.service_transaction() as connection:
            render = await add_render(connection, await add_footage(connection, tmp_path, 20))
            await lifecycle.register_webhook(connection, render, Subject("alice"), at.url)
            await lifecycle.register_webhook(connection, render, Subject("alice"), at.url)
        async with running_supervisor(database, tmp_path, webhooks=SETTINGS):
            row = await wait_until_ended(database, render)
            await wait_for_tasks(database, {"succeeded"})
        (message,) = at.received
    body = json.loads(message.body)
    assert body["type"] == "render.succeeded"
    assert body["data"]["job_id"] == str(render) and body["data"]["video_sha256"] == row["video_sha256"]
    assert body["data"]["video_url"] == f"/api/videos/{render}/video"
    check_signature(at)


async def test_it_is_tried_again_under_the_same_id(database: Database) -> None:
    with webhook_receiver(500, 503, 200) as at:
        render = await add_cancelled_render(database, at.url)
        async with running_deliverer(database):
            (task,) = await wait_for_tasks(database, {"succeeded"})
        assert (task["starts"], len(at.received)) == (3, 3)
        assert len({(one.headers["webhook-id"], one.body) for one in at.received}) == 1
        assert json.loads(at.received[0].body)["data"]["job_id"] == str(render)
        check_signature(at)


@pytest.mark.parametrize(("answer", "times"), [(500, 4), (410, 1)])
async def test_it_is_given_up_with_a_reason(database: Database, answer: int, times: int) -> None:
    with webhook_receiver(answer) as at:
        await add_cancelled_render(database, at.url)
        async with running_deliverer(database):
            (task,) = await wait_for_tasks(database, {"failed"})
        assert len(at.received) == times and str(answer) in task["error"]["reason"]


async def test_a_target_that_became_private_is_given_up(database: Database) -> None:
    strict = WebhookSettings.model_construct(secret=SECRET, allow_private=False, timeout_s=5.0)
    with webhook_receiver() as at:
        await add_cancelled_render(database, at.url)
        async with running_deliverer(database, strict):
            (task,) = await wait_for_tasks(database, {"failed"})
        assert at.received == [] and "private" in task["error"]["reason"]


async def test_who_has_lost_the_right_is_not_told(database: Database) -> None:
    """The share ends after the render: what waits in the queue is not delivered to the guest any more."""
    with webhook_receiver() as alices, webhook_receiver() as bobs:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 2)
            await connection.execute(text("UPDATE experiments SET visibility = 'public'"))
            render = await add_render(connection, dataset)
            await requesters.add_requester(connection, render, Caller(Subject("bob")), 0)
            for subject, at in (("alice", alices), ("bob", bobs)):
                await lifecycle.register_webhook(connection, render, Subject(subject), at.url)
            await lifecycle.cancel_render(connection, render)
        async with database.service_transaction() as connection:
            await connection.execute(text("UPDATE experiments SET visibility = 'private'"))
            await requesters.end_lost_rights(connection, dataset.experiment_id)
        async with running_deliverer(database):
            tasks = await wait_for_tasks(database, {"succeeded", "cancelled"})
        assert (len(alices.received), len(bobs.received)) == (1, 0)
        assert {(task["error"] or {}).get("code") for task in tasks} == {None, "share_ended"}


async def test_a_worker_without_the_secret_leaves_it_to_others(database: Database, tmp_path: Path) -> None:
    with webhook_receiver() as at:
        await add_cancelled_render(database, at.url)
        none = WebhookSettings.model_construct(secret=None)
        async with running_supervisor(database, tmp_path, webhooks=none):
            await asyncio.sleep(1.5)
        await wait_for_tasks(database, {"queued"})
        async with running_deliverer(database):
            await wait_for_tasks(database, {"succeeded"})
        assert len(at.received) == 1


async def test_a_slow_receiver_holds_up_no_render(database: Database, tmp_path: Path) -> None:
    with webhook_receiver("hang") as slow:
        for _ in range(6):
            await add_cancelled_render(database, slow.url)
        async with database.service_transaction() as connection:
            render = await add_render(connection, await add_footage(connection, tmp_path, 20))
        async with running_supervisor(database, tmp_path, webhooks=SETTINGS):
            assert (await wait_until_ended(database, render))["status"] == "succeeded"
            await wait_for_tasks(database, {"succeeded"})
        assert len(slow.received) == 6


async def test_slow_receivers_of_one_caller_hold_up_no_call_of_another(database: Database) -> None:
    with webhook_receiver("hang") as slow, webhook_receiver() as quick:
        for _ in range(30):
            await add_cancelled_render(database, slow.url, "mallory")
        await add_cancelled_render(database, quick.url)
        async with running_deliverer(database):
            async with asyncio.timeout(PATIENCE_S):
                while not quick.received:
                    await asyncio.sleep(0.02)
            assert len(slow.received) <= 12, "the quick call waited for most of the slow ones"


async def test_a_call_that_was_put_back_is_not_an_attempt(database: Database) -> None:
    with webhook_receiver("hang") as slow:
        for _ in range(6):
            await add_cancelled_render(database, slow.url)
        async with running_deliverer(database):
            tasks = await wait_for_tasks(database, {"succeeded"})
        assert [task["starts"] for task in tasks] == [1] * 6 and len(slow.received) == 6


async def add_secret(database: Database, subject: str, age: timedelta = timedelta()) -> bytes:
    async with database.service_transaction() as connection:
        row = await webhook_secrets.create(connection, Subject(subject))
        query = text("UPDATE webhook_secrets SET created_at = created_at - CAST(:age AS interval) WHERE id = :id")
        await connection.execute(query, {"age": age, "id": row["id"]})
    return bytes(row["key"])


async def test_all_secrets_of_a_subject_sign_newest_first(database: Database) -> None:
    without = WebhookSettings.model_construct(secret=None, allow_private=True, timeout_s=5.0)
    older = await add_secret(database, "alice", timedelta(days=30))
    await add_secret(database, "bob")
    newer = await add_secret(database, "alice")
    with webhook_receiver() as at:
        await add_cancelled_render(database, at.url)
        async with running_deliverer(database, without):
            await wait_for_tasks(database, {"succeeded"})
        check_signature(at, newer, older)


async def test_a_subject_who_has_no_secret_any_more_is_told_why(database: Database) -> None:
    without = WebhookSettings.model_construct(secret=None, allow_private=True, timeout_s=5.0)
    with webhook_receiver() as at:
        await add_cancelled_render(database, at.url)
        async with running_deliverer(database, without, attempts=2):
            (task,) = await wait_for_tasks(database, {"failed"})
    assert at.received == [] and "POST /api/webhooks/secrets" in task["error"]["reason"]


def test_the_secret_of_the_installation_signs_until_receivers_have_changed_over() -> None:
    now, new, old = datetime.now(UTC), SigningSecret(b"n", datetime.now(UTC)), timedelta(days=8)
    assert choose_keys([], SECRET, now) == [KEY]
    assert choose_keys([new], SECRET, now) == [b"n", KEY]
    assert choose_keys([new, SigningSecret(b"o", now - old)], SECRET, now) == [b"n", b"o"]
    assert choose_keys([new], None, now) == [b"n"]
    with pytest.raises(DeliveryError, match="POST /api/webhooks/secrets"):
        choose_keys([], None, now)


async def test_nothing_is_sent_of_what_was_rolled_back(database: Database) -> None:
    async with database.service_transaction() as connection:
        render = await add_render(connection, await add_dataset(connection, 2))
        await lifecycle.register_webhook(connection, render, Subject("alice"), "http://127.0.0.1:9/")
    with pytest.raises(RuntimeError):
        async with database.service_transaction() as connection:
            await lifecycle.cancel_render(connection, render)
            raise RuntimeError
    async with database.service_transaction() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM tasks WHERE kind = 'webhook'")) == 0


def test_secrets_stay_secret() -> None:
    assert "24 bytes" not in repr(WebhookSettings.model_construct(secret=SecretStr("a secret of 24 bytes or more")))

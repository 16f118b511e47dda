"""Who is called when a render ends, is retried, or has its files made again."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from service.ids import Subject
from service.store.database import Caller, Database
from service.store.renders import lifecycle
from service.store.renders.queries import VIDEO_FILE
from service.store.renders.requesters import add_requester, may_receive_webhook
from tests.support.data.database_rows import add_dataset, add_render
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio
FIRST, OTHER = "https://example.org/first", "https://example.org/other"


async def add_running(database: Database) -> UUID:
    """A render whose assembly is at work; alice is to be called at FIRST."""
    async with database.service_transaction() as connection:
        render = await add_render(connection, await add_dataset(connection, 4))
        await lifecycle.register_webhook(connection, render, Subject("alice"), FIRST)
        await lifecycle.mark_running(connection, render)
    return render


async def hang(database: Database, render: UUID, owner: str, url: str) -> None:
    async with database.service_transaction() as connection:
        await lifecycle.register_webhook(connection, render, Subject(owner), url)


async def complete(database: Database, render: UUID, sha256: str = "a") -> None:
    async with database.service_transaction() as connection:
        await lifecycle.mark_running(connection, render)
        await lifecycle.complete_render(connection, render, {"video_sha256": sha256})


async def fail(database: Database, render: UUID) -> None:
    async with database.service_transaction() as connection:
        await lifecycle.fail_render(connection, render, {"code": "frame_policy", "reason": "frame 0"})


async def remake(database: Database, render: Any, file: str) -> None:
    async with database.service_transaction() as connection:
        await connection.execute(text("UPDATE renders SET remade_at = NULL"))
        assert await lifecycle.remake_render(connection, render, file, "gone")


async def take_calls(database: Database) -> list[tuple[str, str, str]]:
    """(owner, address, type of the event) of the calls that were queued since the last time."""
    async with database.service_transaction() as connection:
        rows = await connection.scalars(text("DELETE FROM tasks WHERE kind = 'webhook' RETURNING payload"))
        return sorted((row["owner"], row["url"].rpartition("/")[2], row["body"]["type"]) for row in rows)


async def test_a_webhook_that_joins_calls_nobody_else(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        render = await add_running(database)
        await complete(database, render)
        assert await take_calls(database) == [("alice", "first", "render.succeeded")]
        await hang(database, render, "bob", FIRST)
        assert await take_calls(database) == [("bob", "first", "render.succeeded")]


@pytest.mark.parametrize("file", [VIDEO_FILE, "poster"])
@pytest.mark.parametrize("end", ["done", "failed", "cancelled"])
async def test_a_webhook_is_called_that_is_hung_on_a_render_that_is_made_again(
    postgres_url: str, file: str, end: str
) -> None:
    """Those that were called before are not called for the same video."""
    async with fresh_database(postgres_url) as database:
        render = await add_running(database)
        await complete(database, render)
        await take_calls(database)
        await remake(database, render, file)
        await hang(database, render, "bob", OTHER)
        assert await take_calls(database) == []
        if end == "done":
            await complete(database, render)
        elif end == "failed":
            await fail(database, render)
        else:
            async with database.service_transaction() as connection:
                assert await lifecycle.cancel_render(connection, render)
        called = await take_calls(database)
        if file == "poster" or end == "done":
            assert called == [("bob", "other", "render.succeeded")]
        else:
            assert called == [("alice", "first", f"render.{end}"), ("bob", "other", f"render.{end}")]


async def test_all_are_called_for_another_video(postgres_url: str) -> None:
    async with fresh_database(postgres_url) as database:
        render = await add_running(database)
        await complete(database, render)
        await take_calls(database)
        await remake(database, render, VIDEO_FILE)
        await complete(database, render, "b")
        assert await take_calls(database) == [("alice", "first", "render.succeeded")]


async def test_who_was_told_of_a_failure_is_told_of_the_retry(postgres_url: str) -> None:
    """The video that could not be made again is made by the retry, and is the same as before."""
    async with fresh_database(postgres_url) as database:
        render = await add_running(database)
        await complete(database, render)
        await remake(database, render, VIDEO_FILE)
        await fail(database, render)
        await take_calls(database)
        async with database.service_transaction() as connection:
            assert await lifecycle.retry_render(connection, render)
        await complete(database, render)
        assert await take_calls(database) == [("alice", "first", "render.succeeded")]


async def test_a_former_admin_is_not_called(postgres_url: str) -> None:
    """He asks again without the scope: what he could see as an admin is not his."""
    async with fresh_database(postgres_url) as database:
        render = await add_running(database)
        await hang(database, render, "root", OTHER)
        await complete(database, render)
        async with database.service_transaction() as connection:
            payloads = list(await connection.scalars(text("SELECT payload FROM tasks WHERE kind = 'webhook'")))
            (message,) = [payload for payload in payloads if payload["owner"] == "root"]
            for admin in (False, True, False):
                await add_requester(connection, render, Caller(Subject("root"), admin=admin), 0)
                assert await may_receive_webhook(connection, message) is admin

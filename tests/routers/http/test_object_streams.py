"""A stream of bytes asks, while it is sent, whether its reader may still see it."""

from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

import pytest

from service.ids import Subject
from service.routers.http import object_streams
from service.routers.http.object_streams import stream_while_visible
from service.routers.videos.renders import get_visible_render
from service.store.database import Caller, Database
from service.store.settings import DatabaseSettings
from tests.routers.conftest import NOWHERE

pytestmark = pytest.mark.anyio


async def _chunks() -> AsyncIterator[bytes]:
    for number in range(3):
        yield bytes([number])


async def test_without_a_database_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """No share can end while the database is unavailable."""
    monkeypatch.setattr(object_streams, "RIGHT_CHECK_INTERVAL_S", 0)
    database = Database(NOWHERE, DatabaseSettings.model_construct())
    check = partial(get_visible_render, database, Caller(Subject("bob")), UUID(int=0))
    assert [chunk async for chunk in stream_while_visible(_chunks(), check)] == [b"\0", b"\1", b"\2"]
    await database.close()


async def test_it_does_not_ask_at_each_chunk() -> None:
    asked = 0

    async def check() -> None:
        nonlocal asked
        asked += 1

    assert [chunk async for chunk in stream_while_visible(_chunks(), check)] == [b"\0", b"\1", b"\2"]
    assert asked == 0

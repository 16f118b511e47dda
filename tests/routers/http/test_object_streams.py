"""A stream asks, while it is sent, whether its reader may still see it; ranges at the extremes of what a header can say."""

from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

import pytest

from service.errors import RangeNotSatisfiable
from service.ids import Subject
from service.routers.http import object_streams
from service.routers.http.object_streams import ByteRange, parse_range, stream_while_visible
from service.routers.videos.renders import get_visible_render
from service.store.database import Caller, Database
from service.store.settings import DatabaseSettings
from tests.routers.conftest import NOWHERE

pytestmark = pytest.mark.anyio
SIZE = 1000
DIGITS = "9" * 5000


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


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, SIZE, False)),
        ("bytes=0-", (0, SIZE, True)),
        ("bytes=10-19", (10, 20, True)),
        ("bytes=-10", (990, SIZE, True)),
        ("bytes=0-2000", (0, SIZE, True)),
        (f"bytes=0-{DIGITS}", (0, SIZE, True)),
        (f"bytes=-{DIGITS}", (0, SIZE, True)),
        (f"bytes={'0' * 5000}5-{'0' * 5000}7", (5, 8, True)),
        ("bytes=0-18446744073709551616", (0, SIZE, True)),
        ("bytes=-", (0, SIZE, False)),
        ("bytes=0-1,2-3", (0, SIZE, False)),
        ("bytes=\u0661-\u0662", (0, SIZE, False)),
        ("pages=0-1", (0, SIZE, False)),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int, bool]) -> None:
    start, stop, partial = expected
    assert parse_range(header, SIZE) == ByteRange(start, stop, SIZE, partial)


@pytest.mark.parametrize(
    "header", ["bytes=1000-", f"bytes={DIGITS}-", f"bytes={DIGITS}-{DIGITS}", "bytes=5-4", "bytes=-0"]
)
def test_ranges_behind_the_end(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        parse_range(header, SIZE)
    assert refused.value.headers == {"Content-Range": f"bytes */{SIZE}"}

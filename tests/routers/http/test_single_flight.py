"""Concurrent callers of one key share one task."""

import asyncio

import pytest

from service.routers.http.single_flight import SharedTasks

pytestmark = pytest.mark.anyio


class Counter:
    """Counts how often it was started; each start takes 20 ms."""

    def __init__(self) -> None:
        self.starts = 0

    async def next_start(self) -> int:
        self.starts += 1
        started = self.starts
        await asyncio.sleep(0.02)
        return started


async def test_callers_share_the_running_task_of_their_key() -> None:
    tasks, counter = SharedTasks[str, int](), Counter()
    assert await asyncio.gather(*(tasks.run(key, counter.next_start) for key in "aab")) == [1, 1, 2]
    assert await tasks.run("a", counter.next_start) == 3


async def test_a_recent_result_is_reused_and_an_old_one_is_not() -> None:
    tasks, counter = SharedTasks[str, int](max_age_s=0.2), Counter()
    assert [await tasks.run("a", counter.next_start) for _ in range(3)] == [1, 1, 1]
    await asyncio.sleep(0.25)
    assert await tasks.run("a", counter.next_start) == 2


async def test_a_cancelled_caller_does_not_cancel_the_task_of_others() -> None:
    tasks, counter = SharedTasks[str, int](), Counter()
    first = asyncio.create_task(tasks.run("a", counter.next_start))
    second = asyncio.create_task(tasks.run("a", counter.next_start))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1


async def test_every_caller_gets_the_error() -> None:
    async def fail() -> int:
        await asyncio.sleep(0)
        raise OSError("unreachable")

    tasks = SharedTasks[str, int]()
    results = await asyncio.gather(tasks.run("a", fail), tasks.run("a", fail), return_exceptions=True)
    assert [str(result) for result in results] == ["unreachable", "unreachable"]

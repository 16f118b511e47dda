"""Concurrent callers of one key share one task."""

import asyncio
from collections.abc import Sequence

import pytest

from service.routers.http.single_flight import SharedReads, SharedTasks

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


class Reader:
    """Reads numbers as their squares; odd ones have no value. Each read takes 20 ms."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def read(self, keys: Sequence[int]) -> dict[int, int]:
        self.batches.append(list(keys))
        await asyncio.sleep(0.02)
        return {key: key * key for key in keys if key % 2 == 0}


async def test_each_key_is_read_once_for_all_who_ask_at_the_same_time() -> None:
    reads, reader = SharedReads[int, int](), Reader()
    asked = [[2, 3, 4], [4, 2], [4, 6, 5], [2]]
    found = await asyncio.gather(*(reads.get(keys, reader.read, 0) for keys in asked))
    assert found == [{2: 4, 4: 16}, {4: 16, 2: 4}, {4: 16, 6: 36}, {2: 4}]
    assert reader.batches == [[2, 3, 4], [6, 5]]
    await reads.get([2], reader.read, 0)
    assert reader.batches[2:] == [[2]]


async def test_what_was_read_lately_is_not_read_again() -> None:
    reads, reader = SharedReads[int, int](), Reader()
    for keys in ([2, 4], [4], [4, 6]):
        await reads.get(keys, reader.read, 60)
    assert reader.batches == [[2, 4], [6]]


async def test_a_failed_read_fails_for_all_who_waited_and_is_begun_anew() -> None:
    async def fail(_keys: Sequence[int]) -> dict[int, int]:
        await asyncio.sleep(0)
        raise OSError("unreachable")

    reads, reader = SharedReads[int, int](), Reader()
    results = await asyncio.gather(*(reads.get([2], fail, 0) for _ in range(2)), return_exceptions=True)
    assert [str(result) for result in results] == ["unreachable", "unreachable"]
    assert await reads.get([2], reader.read, 0) == {2: 4}

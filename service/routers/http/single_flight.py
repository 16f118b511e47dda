"""Share one running task among concurrent callers of the same key, or one read of many keys among their followers."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


class SharedTasks(Generic[Key, Result]):
    """Runs at most one task per key. Callers that arrive while it runs wait for the same task.

    A finished task also answers callers until `max_age_s` seconds after its start.
    """

    def __init__(self, max_age_s: float = 0) -> None:
        self._max_age_s = max_age_s
        self._tasks: dict[Key, tuple[float, asyncio.Task[Result]]] = {}

    async def run(self, key: Key, start: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """The result of the running or recent task of `key`, else of a new one. Raises what the task raises."""
        now = asyncio.get_running_loop().time()
        if key not in self._tasks or self._is_outdated(*self._tasks[key], now):
            self._tasks = {other: entry for other, entry in self._tasks.items() if not self._is_outdated(*entry, now)}
            task = asyncio.create_task(start())
            task.add_done_callback(_retrieve_exception)
            self._tasks[key] = (now, task)
        return await asyncio.shield(self._tasks[key][1])

    def _is_outdated(self, started: float, task: asyncio.Task[Result], now: float) -> bool:
        return task.done() and now - started > self._max_age_s


class SharedReads(Generic[Key, Result]):
    """Reads many keys at once, and each at most once at a time, for all who ask for it."""

    def __init__(self) -> None:
        self._reads: dict[Key, tuple[float, asyncio.Task[Mapping[Key, Result]]]] = {}

    async def get(
        self,
        keys: Sequence[Key],
        read: Callable[[Sequence[Key]], Coroutine[Any, Any, Mapping[Key, Result]]],
        max_age_s: float,
    ) -> dict[Key, Result]:
        """The values of those keys that have one, begun to be read at most `max_age_s` ago. Raises what `read`
        raises."""
        now = asyncio.get_running_loop().time()
        missing = [key for key in keys if not self._is_recent(key, now - max_age_s)]
        if missing:
            self._forget(now - max_age_s)
            task = asyncio.create_task(read(missing))
            task.add_done_callback(_retrieve_exception)
            self._reads |= dict.fromkeys(missing, (now, task))
        tasks = {key: self._reads[key][1] for key in keys}
        for task in set(tasks.values()):
            await asyncio.shield(task)
        return {key: task.result()[key] for key, task in tasks.items() if key in task.result()}

    def _is_recent(self, key: Key, since: float) -> bool:
        found = self._reads.get(key)
        return found is not None and (found[0] >= since or not found[1].done())

    def _forget(self, before: float) -> None:
        self._reads = {key: read for key, read in self._reads.items() if self._is_recent(key, before)}


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Every caller may have been cancelled: without this, asyncio would log that nobody retrieved the exception."""
    if not task.cancelled():
        task.exception()

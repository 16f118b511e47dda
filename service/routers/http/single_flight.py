"""Share one running task among concurrent callers of the same key."""

import asyncio
from collections.abc import Callable, Coroutine
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


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Every caller may have been cancelled: without this, asyncio would log that nobody retrieved the exception."""
    if not task.cancelled():
        task.exception()

"""A blocking call that may never return, made from a thread that nobody waits for."""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class StillBlocked(Exception):
    """The call, or the one before it, has not returned within its limit."""


class WatchedCall(Generic[Result]):
    """At most one call is under way; the thread is a daemon, so that a driver that hangs does not keep a process."""

    def __init__(self, work: Callable[[], Result], limit_s: float) -> None:
        self._work, self._limit = work, limit_s
        self._under_way: asyncio.Future[Result] | None = None

    async def result(self) -> Result:
        """Raises StillBlocked, or what the call raises."""
        call = self._under_way
        if call is None or call.done():
            call = self._under_way = asyncio.get_running_loop().create_future()
            threading.Thread(target=self._run, args=(call,), daemon=True).start()
        await asyncio.wait((call,), timeout=self._limit)
        if not call.done():
            raise StillBlocked(f"no answer within {self._limit:g} s")
        return call.result()

    def _run(self, future: "asyncio.Future[Result]") -> None:
        loop = future.get_loop()
        try:
            found = self._work()
        except Exception as error:
            self._tell(loop, future.set_exception, error)
        else:
            self._tell(loop, future.set_result, found)

    @staticmethod
    def _tell(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], what: object) -> None:
        try:
            loop.call_soon_threadsafe(tell, what)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

"""Runs a blocking call that may never return in a daemon thread, with a time limit."""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class StillRunning(Exception):
    """The call, or the one before it, has not returned within its limit."""


class TimeoutCall(Generic[Result]):
    """At most one call is under way; the thread is a daemon, so that a driver that hangs does not keep a process."""

    def __init__(self, call: Callable[[], Result], timeout_s: float) -> None:
        self._call, self._timeout_s = call, timeout_s
        self._pending: asyncio.Future[Result] | None = None

    async def result(self) -> Result:
        """Raises StillBlocked, or what the call raises."""
        call = self._pending
        if call is None or call.done():
            call = self._pending = asyncio.get_running_loop().create_future()
            threading.Thread(target=self._run, args=(call,), daemon=True).start()
        await asyncio.wait((call,), timeout=self._timeout_s)
        if not call.done():
            raise StillRunning(f"no answer within {self._timeout_s:g} s")
        return call.result()

    def _run(self, future: "asyncio.Future[Result]") -> None:
        loop = future.get_loop()
        try:
            found = self._call()
        except Exception as error:
            self._deliver(loop, future.set_exception, error)
        else:
            self._deliver(loop, future.set_result, found)

    @staticmethod
    def _deliver(loop: asyncio.AbstractEventLoop, setter: Callable[..., None], value: object) -> None:
        try:
            loop.call_soon_threadsafe(setter, value)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

"""Runs a blocking call that may never return in a daemon thread, with a time limit.

`asyncio.to_thread` would not do: its threads are joined at exit, so a driver that hangs would keep the process alive.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class StillRunning(Exception):
    """The call, or the one before it, has not returned within the time limit."""


class TimeoutCall(Generic[Result]):
    """At most one call runs at a time; a call that has timed out is awaited again by the next `result()`."""

    def __init__(self, call: Callable[[], Result], timeout_s: float) -> None:
        self._call, self._timeout_s = call, timeout_s
        self._pending: asyncio.Future[Result] | None = None

    async def result(self) -> Result:
        """Raises StillRunning, or whatever the call raises."""
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
            result = self._call()
        except Exception as error:
            self._deliver(loop, future.set_exception, error)
        else:
            self._deliver(loop, future.set_result, result)

    @staticmethod
    def _deliver(loop: asyncio.AbstractEventLoop, setter: Callable[..., None], value: object) -> None:
        try:
            loop.call_soon_threadsafe(setter, value)
        except RuntimeError:  # the loop is closed
            return

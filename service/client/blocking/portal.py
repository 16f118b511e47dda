"""Runs the asynchronous client in a thread of its own, for callers that wait."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")
# Asynchronous class -> its blocking counterpart; filled by `blocking_version_of`.
_COUNTERPARTS: dict[type, type] = {}
_DONE = object()
Class = TypeVar("Class", bound=type)


class _Portal:
    """The loop of this process, and who may start it. A process that was forked has none: threads do not come along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="reelmill-client", daemon=True).start()
            return self._loop


_portal = _Portal()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_portal.__init__)  # type: ignore[misc]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Wait for what it returns; an object of the asynchronous client is wrapped."""
    return wrap(_wait(work))


def _wait(work: Coroutine[Any, Any, T]) -> T:
    """An interruption from the keyboard cancels it."""
    future = asyncio.run_coroutine_threadsafe(work, _portal.loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(items: AsyncIterator[Any]) -> Iterator[Any]:
    """Its items, one after the other. Ends the work behind it when nobody reads any more."""

    async def advance() -> Any:
        return await anext(items, _DONE)

    try:
        while (item := run(advance())) is not _DONE:
            yield item
    finally:
        run(_close(items))


async def _close(items: AsyncIterator[Any]) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


def call(method: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a plain function returns on the thread of the client, as it is."""

    async def work() -> T:
        return method(*arguments, **named)

    return _wait(work())


def wrap(value: Any) -> Any:
    """The blocking counterpart of an object of the asynchronous client; anything else as it is."""
    counterpart = _COUNTERPARTS.get(type(value))
    return counterpart(value) if counterpart is not None else value


def blocking_version_of(asynchronous: type) -> Callable[[Class], Class]:
    def register(blocking: Class) -> Class:
        _COUNTERPARTS[asynchronous] = blocking
        return blocking

    return register


class Blocking:
    """Shows an asynchronous object: its attributes are those of the other."""

    def __init__(self, asynchronous: Any) -> None:
        self._async = asynchronous

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_async" not in self.__dict__:
            raise AttributeError(name)
        return wrap(getattr(self._async, name))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(self._async)})

    def __repr__(self) -> str:
        return repr(self._async)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and bool(self._async == other._async)

    def __hash__(self) -> int:
        return hash(self._async)

"""Objects that a slot's reader reads, and settings for the server that has them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from service.plan.render_plan import FrameRef
from service.store.settings import ObjectSettings
from service.worker.fetch.frame_fetcher import FrameFetcher
from service.worker.fetch.readers import FetchStats, open_reader

SIZE = 210_000
BUCKET = "reelmill"


def object_settings(address: str, timeout_s: float = 20) -> ObjectSettings:
    return ObjectSettings.model_construct(
        endpoint=address, access_key="k", secret_key=SecretStr("tell-nobody"), timeout_s=timeout_s
    )


def open_fetcher(settings: ObjectSettings, home: Path) -> FrameFetcher:
    return FrameFetcher(open_reader(settings, home, FetchStats()))


class StoredFrames:
    """A fetcher, and a function that stores an object where it reads and returns its etag."""

    def __init__(self, fetcher: FrameFetcher, put: Callable[[str, bytes], str]) -> None:
        self.fetcher, self.put = fetcher, put

    def ref(self, key: str, data: bytes, index: int = 0) -> FrameRef:
        """Store the object as a scan would find it."""
        return FrameRef(index, key, self.put(key, data), len(data))

    def frames(self, count: int, size: int = SIZE) -> list[tuple[FrameRef, bytes]]:
        datas = [os.urandom(size) for _ in range(count)]
        return [(self.ref(f"f/{n:05} é+.jpg", data, n), data) for n, data in enumerate(datas)]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)

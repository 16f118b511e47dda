"""A folder that something writes to for years."""

import os
from pathlib import Path

import httpx
import pytest

from service.client.addresses import Address
from service.client.files.growing import GrowingFolder
from service.client.transport import Transport

pytestmark = pytest.mark.anyio


class Everything(httpx.AsyncBaseTransport):
    """A dataset that has each file of the folder already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        names = os.listdir(self.folder)  # noqa: PTH208 (names)
        later = "2999-01-01T00:00:00+00:00"
        return httpx.Response(200, json=[{"name": name, "size": 1, "etag": "", "modified": later} for name in names])


async def test_files_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    transport = Transport(Address("http://mill", "t"), Everything(tmp_path))
    growing = GrowingFolder(transport, "d", "frames", tmp_path)
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(b"x")
        for old in range(number - 2):
            (tmp_path / f"{old}.jpg").unlink(missing_ok=True)
        assert await growing.upload_settled() == await growing.upload_settled() == 0
        assert growing._done.keys() == growing._before.keys()

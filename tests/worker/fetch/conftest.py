"""The slot's reader over a folder, and over a server that can misbehave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store.objects.files import file_etag
from service.store.settings import ObjectSettings
from service.worker.fetch.frame_fetcher import FrameFetcher
from tests.support.servers.object_server import FaultyObjectServer
from tests.support.servers.stored_frames import BUCKET, StoredFrames, object_settings, open_fetcher


@pytest.fixture
def fetcher(server: FaultyObjectServer, tmp_path: Path) -> Iterator[FrameFetcher]:
    fetcher = open_fetcher(object_settings(server.address), tmp_path)
    yield fetcher
    fetcher.close()


@pytest.fixture(params=["folder", "server"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoredFrames]:
    def put(key: str, data: bytes) -> str:
        path = tmp_path / "objects" / BUCKET / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return file_etag(path.stat())

    if request.param == "folder":
        fetcher = open_fetcher(ObjectSettings.model_construct(), tmp_path)
        yield StoredFrames(fetcher, put)
        fetcher.close()
    else:
        server: FaultyObjectServer = request.getfixturevalue("server")
        yield StoredFrames(request.getfixturevalue("fetcher"), server.put)

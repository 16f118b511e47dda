"""A server of objects that can misbehave."""

from collections.abc import Iterator

import pytest

from tests.support.servers.object_server import FaultyObjectServer


@pytest.fixture
def server() -> Iterator[FaultyObjectServer]:
    server = FaultyObjectServer()
    yield server
    server.stop()

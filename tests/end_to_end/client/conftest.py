"""The client is the same over each store: its tests run on one."""

from collections.abc import Callable

import pytest

from tests.support.processes.running_service import RunningService
from tests.support.servers.s3_server import ANY_STORE


@pytest.fixture(scope="module")
def service(start_service: Callable[[str], RunningService]) -> RunningService:
    return start_service(ANY_STORE)

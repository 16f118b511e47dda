"""The service of all tests of what videos show."""

from collections.abc import Callable

import pytest

from tests.support.processes.running_service import RunningService
from tests.support.servers.s3_server import ANY_STORE


@pytest.fixture(scope="session")
def service(start_service: Callable[[str], RunningService]) -> RunningService:
    """What a picture shows does not depend on where its frames are; the files next to this folder use both stores."""
    return start_service(ANY_STORE)

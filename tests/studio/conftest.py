"""What the Studio shows, and a browser on it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.studio.browsing import Studio, studio
from tests.studio.scene import flawed_frames, make_dataset, make_experiment
from tests.support.processes.running_service import RunningService

# What the service answers by design, and the page shows: nobody is signed in, a frame is damaged or not ready. And what
# a test has the network do.
DESIGNED = re.compile(r"status of (401|404|409|422|429|503)|ERR_INTERNET_DISCONNECTED")


@pytest.fixture(scope="session")
def service(start_service: Callable[[str], RunningService]) -> RunningService:
    """The page does not know where objects are: one store is enough."""
    return start_service("folder")


@pytest.fixture
def page(service: RunningService, tmp_path: Path) -> Iterator[Studio]:
    """A browser that nobody has signed in with; the test fails if it reports anything, or asked another host."""
    with studio(service.url, tmp_path / "profile") as page:
        yield page
        assert [each for each in page.reports() if not DESIGNED.search(each)] == []
        asked = [each["url"] for each in page.requests() if each["url"].startswith(("http", "ws"))]
        assert [url for url in asked if not url.startswith(f"{service.url}/")] == []


@pytest.fixture(scope="session")
def plate(service: RunningService) -> dict[str, Any]:
    """A dataset of alice with a frame that cannot be decoded, one of another size, and three that are missing."""
    with service.client("alice") as client:
        experiment = make_experiment(client, "Aspergillus", description="Growth at 28 °C", visibility="public")
        return make_dataset(client, experiment, "camera 1", flawed_frames(60))

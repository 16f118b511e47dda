"""Fixtures that many tests share."""

import asyncio
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from service.embedded.postgres import EmbeddedPostgres
from service.pipeline.native_libraries import reset_scheduler
from service.telemetry.logging import configure
from tests.support.servers.databases import drop_template

# No deadline: how long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("reelmill", deadline=None)
hypothesis.settings.load_profile("reelmill")

# Fixtures that start a server, a browser or processes of the service.
SERVER_FIXTURES = {"postgres_url", "service"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests for `make test-fast` by their fixtures."""
    for item in items:
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("servers")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `cuda` need a device; REELMILL_FAIL_WITHOUT_CUDA=1 is for machines that must have one."""
    if item.get_closest_marker("cuda") and (reason := _cuda_missing_reason()):
        (pytest.fail if os.environ.get("REELMILL_FAIL_WITHOUT_CUDA") == "1" else pytest.skip)(reason)


def pytest_runtest_teardown() -> None:
    """Tests that encode with SVT-AV1 themselves: what is started next must not inherit its real-time priority."""
    reset_scheduler()


def _cuda_missing_reason() -> str | None:
    try:
        import torch
    except ImportError:
        return "needs CUDA: torch is not installed"
    return None if torch.cuda.is_available() else f"needs CUDA: torch {torch.__version__} sees no device"


pytest_plugins = ["tests.support.processes.running_service"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL, without our schema: the one of REELMILL_TEST_DATABASE_URL, or an embedded one."""
    if given := os.environ.get("REELMILL_TEST_DATABASE_URL"):
        yield given
        asyncio.run(drop_template(given))
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What was logged since the test began; the logging of the process is put back after it."""
    root, stream = logging.getLogger(), io.StringIO()
    before = (root.handlers, root.level)
    configure(stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, _ = before
    root.setLevel(before[1])
    structlog.reset_defaults()

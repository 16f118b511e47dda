"""Fixtures that many tests share."""

import asyncio
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from service.embedded.postgres import EmbeddedPostgres
from service.pipeline.native_libraries import reset_scheduler
from service.telemetry.logging import configure
from tests.support.servers.databases import drop_template

FAST = "not servers and not slow"
TESTS = Path(__file__).parent

# No deadline: how long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("reelmill", deadline=None)
hypothesis.settings.register_profile("fast", deadline=None, max_examples=20)

# What makes a test one of the `servers` or `slow` tests, which `make test-fast` leaves out.
SERVER_FIXTURES = {"postgres_url", "service"}
SERVER_PATHS = ("commands", "embedded", "end_to_end", "faults", "pipeline/test_colour_in_chromium.py")
LONGEST_PATHS = (
    "faults",
    "agent/test_small_model.py",
    "end_to_end",
    "benchmarks",
    "studio",
    "jobs",
    "embedded",
    "commands",
    "worker",
)
SLOW_PATHS = (
    "agent/test_injection.py",
    "architecture/test_environment.py",
    "architecture/test_light_api.py",
    "benchmarks",
    "devices/test_canary_process.py",
    "documentation/test_readme.py",
    "identity/test_local_secret.py",
    "kernels",
    "pipeline/cuda/test_errors.py",
    "pipeline/cuda/torch",
    "pipeline/images/test_corpus.py",
    "pipeline/encode/test_containers.py",
    "pipeline/encode/test_determinism.py",
    "pipeline/encode/test_imagej.py",
    "pipeline/images/test_damaged_images.py",
    "pipeline/overlay/test_caption.py",
    "pipeline/test_deep_bins.py",
    "pipeline/videos/test_damaged_videos.py",
    "pipeline/videos/test_source.py",
    "pipeline/videos/test_source_containers.py",
    "processes/test_http_connection.py",
    "routers/openapi/test_docs.py",
    "routers/openapi/test_schema_30.py",
    "store/objects/test_s3.py",
    "worker/devices/test_canaries.py",
    "worker/devices/test_cuda_canaries.py",
    "worker/fetch/test_frame_fetcher.py",
    "worker/fetch/test_ranged_files.py",
    "worker/fetch/test_real_s3.py",
    "worker/test_healthcheck.py",
)


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("fast" if config.getoption("markexpr") == FAST else "reelmill")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that start servers or processes of the service, and slow ones; the files that take longest come first.

    A file is run by one process: one that starts last and takes minutes would keep all others waiting.
    """
    items.sort(key=lambda item: not item.path.relative_to(TESTS).as_posix().startswith(LONGEST_PATHS))
    for item in items:
        path = item.path.relative_to(TESTS).as_posix()
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())) or path.startswith(SERVER_PATHS):
            item.add_marker("servers")
        if path.startswith(SLOW_PATHS):
            item.add_marker("slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the files that the marker expression of `make test-fast` leaves out."""
    left_out = collection_path.relative_to(TESTS).as_posix().startswith(SERVER_PATHS + SLOW_PATHS)
    return True if left_out and config.getoption("markexpr") == FAST else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `cuda` need a device; REELMILL_FAIL_WITHOUT_CUDA=1 is for machines that must have one."""
    if item.get_closest_marker("cuda") and (reason := _cuda_missing_reason()):
        (pytest.fail if os.environ.get("REELMILL_FAIL_WITHOUT_CUDA") == "1" else pytest.skip)(reason)


def pytest_runtest_teardown() -> None:
    """Undo the real-time priority that SVT-AV1 sets, so that processes started later do not inherit it."""
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
    """The URL of a real PostgreSQL without our schema: REELMILL_TEST_DATABASE_URL, or an embedded one."""
    if given := os.environ.get("REELMILL_TEST_DATABASE_URL"):
        yield given
        asyncio.run(drop_template(given))
        return
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The log lines since the start of the test. Restores the logging of the process afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    configure(stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()

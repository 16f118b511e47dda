"""The whole service as a user starts it: API, worker, embedded PostgreSQL, folder of objects."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import config
from service.local_token import local_token
from service.up import machine
from tests.support.clean_environment import clean_environment

SCOPES = ("catalog:read", "catalog:write", "videos:read", "videos:render")


@dataclass(frozen=True)
class Running:
    """The service under test: where it answers, where its state lies, and tokens for it."""

    url: str
    home: Path
    token: Callable[..., str]

    def client(self, subject: str = "alice", *scopes: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(subject, scopes or SCOPES)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("service")
    with clean_environment(
        REELMILL_HOME=str(home),
        PORT="0",
        REELMILL_LOG_LEVEL="WARNING",
        REELMILL_MAX_QUEUED="5",
        REELMILL_RATE_LIMIT="none",
    ):
        settings = config.load()
        with machine(settings) as running:

            def token(subject: str, scopes: tuple[str, ...], life: timedelta = timedelta(hours=1)) -> str:
                return local_token(settings, subject, scopes, life)

            yield Running(running.url, home, token)


@pytest.fixture
def alice(service: Running) -> Iterator[httpx.Client]:
    with service.client("alice") as client:
        yield client


@pytest.fixture
def make_dataset(alice: httpx.Client) -> Callable[[dict[str, bytes]], dict[str, Any]]:
    """Upload these files into a dataset of a new experiment, scan it, and wait for the end of the scan."""
    from tests.support.api import make_dataset

    return lambda files, **more: make_dataset(alice, files, **more)

"""The whole service as `reelmill up` starts it: API, worker, embedded PostgreSQL, objects in a folder or on S3."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import config
from service.commands.tokens import mint_local_token
from service.commands.up import run_local_service
from service.config import Settings
from service.plan.render_plan import ObjectRef
from service.store.objects.drivers import open_object_store
from tests.support.processes import api
from tests.support.processes.clean_environment import clean_environment
from tests.support.servers.s3_server import needs_s3, s3_server

SCOPES = ("catalog:read", "catalog:write", "videos:read", "videos:render")


@dataclass(frozen=True)
class RunningService:
    """The service under test: its URL, its settings, and tokens for it."""

    url: str
    settings: Settings
    token: Callable[..., str]
    api_pid: int

    @property
    def home(self) -> Path:
        return self.settings.process.home

    def client(self, subject: str = "alice", *scopes: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(subject, scopes or SCOPES)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def remove_object(self, key: str) -> None:
        """Delete an object without using the service."""

        async def remove() -> None:
            objects = open_object_store(self.settings.objects, self.home)
            await objects.delete(ObjectRef(objects.bucket, key))
            await objects.close()

        asyncio.run(remove())

    def read_object(self, key: str) -> bytes:
        async def read() -> bytes:
            objects = open_object_store(self.settings.objects, self.home)
            data = await objects.get(ObjectRef(objects.bucket, key))
            await objects.close()
            return data

        return asyncio.run(read())

    def object_keys(self, prefix: str) -> list[str]:
        """Keys of all stored objects."""

        async def list_keys() -> list[str]:
            objects = open_object_store(self.settings.objects, self.home)
            keys = [info.key async for page in objects.list(objects.bucket, prefix) for info in page]
            await objects.close()
            return keys

        return asyncio.run(list_keys())


def store_settings(driver: str) -> dict[str, str]:
    """Settings of the object store; on the S3 server, with a new bucket."""
    return s3_server().environment() if driver == "s3" else {}


@pytest.fixture(scope="session")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RunningService]]:
    """The service over a driver of the object store. It is started once, and runs until the last test."""
    running: dict[str, RunningService] = {}
    with ExitStack() as stack:

        def start(driver: str) -> RunningService:
            if driver not in running:
                running[driver] = stack.enter_context(run_service(driver, tmp_path_factory.mktemp("service")))
            return running[driver]

        yield start


@pytest.fixture(scope="session", params=["folder", pytest.param("s3", marks=needs_s3)])
def service(request: pytest.FixtureRequest, start_service: Callable[[str], RunningService]) -> RunningService:
    return start_service(request.param)


@contextmanager
def run_service(driver: str, home: Path) -> Iterator[RunningService]:
    """A service of its own, for a test that measures or ends its processes."""
    own = {
        "REELMILL_HOME": str(home),
        "PORT": "0",
        "REELMILL_LOG_LEVEL": "WARNING",
        "REELMILL_MAX_QUEUED": "5",
        "REELMILL_RATE_LIMIT": "none",
    }
    with ExitStack() as stack:
        with clean_environment(**own, **store_settings(driver)):
            settings = config.load()
            before = os.umask(0)  # the processes must not rely on the umask of who starts them
            try:
                running = stack.enter_context(run_local_service(settings))
            finally:
                os.umask(before)

        def token(subject: str, scopes: tuple[str, ...], life: timedelta = timedelta(hours=1)) -> str:
            return mint_local_token(settings, subject, scopes, life)

        yield RunningService(running.url, settings, token, running.children["api"].pid)


@pytest.fixture
def alice(service: RunningService) -> Iterator[httpx.Client]:
    with service.client("alice") as client:
        yield client


@pytest.fixture
def make_dataset(alice: httpx.Client) -> Callable[[dict[str, bytes]], dict[str, Any]]:
    """Upload files into a dataset of a new experiment, and scan it."""
    return lambda files, **more: api.make_dataset(alice, files, **more)

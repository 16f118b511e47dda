"""What a storm plays on: `reelmill up`, its database and its objects, with a proxy before a real S3 server or with
folders on small disks of their own."""

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from service.store.database import Database
from service.store.objects.drivers import open_object_store
from service.store.objects.object_store import ObjectStore
from service.store.settings import DatabaseSettings, ObjectSettings
from tests.support.patience import PATIENCE_S
from tests.support.processes.up import RunningUp, running_up
from tests.support.servers.s3_proxy import S3Proxy
from tests.support.servers.s3_server import s3_server

T = TypeVar("T")
# Faults by name. A fault raises one of AWAY if what it is about is not there at this moment.
Faults = dict[str, Callable[[], None]]
SLOTS = 2
# A slot that hangs is noticed as soon as a child of `up` that does, and a worker that stops waits less for its tasks.
SETTINGS = {"REELMILL_FRAME_TIMEOUT": "10", "REELMILL_SHUTDOWN_TIMEOUT": "5", "REELMILL_MAX_QUEUED": "20"}
DISK_MB = 96
CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Disk:
    """A small file system, mounted at `folder`."""

    folder: Path

    def fill(self) -> None:
        """Until nothing more goes onto it."""
        with self.filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))

    def empty(self) -> None:
        self.filler.unlink(missing_ok=True)

    @property
    def filler(self) -> Path:
        return self.folder / ".filler"


@dataclass(frozen=True)
class Scene:
    """`proxy` is there if the objects are on S3, `disks` (`objects`, `temporary`) where they can be mounted; `changed` has
    the segments that a fault has changed or removed."""

    up: RunningUp
    random: random.Random
    environment: dict[str, str]
    settings: ObjectSettings
    proxy: S3Proxy | None = None
    disks: dict[str, Disk] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)

    @property
    def database_url(self) -> str:
        folder = self.up.home / "postgres"
        password, port = (folder / "password").read_text().strip(), (folder / "port").read_text().strip()
        return f"postgresql://reelmill:{password}@127.0.0.1:{port}/reelmill"

    def query(self, statement: str) -> Sequence[Any]:
        """The rows of a statement, over a connection of its own. Raises OSError if the database is away."""
        return query(self.database_url, statement)

    def with_connection(self, work: Callable[["asyncpg.Connection"], Awaitable[T]]) -> T:
        """Raises OSError if the database is away."""
        return with_connection(self.database_url, work)

    def with_objects(self, work: Callable[[ObjectStore], Awaitable[T]]) -> T:
        """Work on the store itself, not through the proxy."""

        async def run() -> T:
            objects = open_object_store(self.settings, self.up.home)
            try:
                return await work(objects)
            finally:
                await objects.close()

        return asyncio.run(run())

    @asynccontextmanager
    async def shared_state(self) -> AsyncIterator[tuple[Database, ObjectStore]]:
        database = Database(self.database_url, DatabaseSettings())
        objects = open_object_store(self.settings, self.up.home)
        try:
            yield database, objects
        finally:
            await objects.close()
            await database.close()


def query(url: str, statement: str) -> Sequence[Any]:
    async def fetch(connection: "asyncpg.Connection") -> Sequence[Any]:
        return list(await connection.fetch(statement))

    return with_connection(url, fetch)


def with_connection(url: str, work: Callable[["asyncpg.Connection"], Awaitable[T]]) -> T:
    async def run() -> T:
        try:
            connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await work(connection)
            finally:
                connection.terminate()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    return asyncio.run(run())


@contextmanager
def scene(folder: Path, seed: int, *, on_s3: bool, small_disks: bool) -> Iterator[Scene]:
    """Run `up` until the end of the block. Disks need root, and should be in a mount namespace that ends with us."""
    own, disks = dict(SETTINGS), dict[str, Disk]()
    with ExitStack() as stack:
        proxy, settings = None, ObjectSettings.model_construct()
        if on_s3:
            server = s3_server()
            stack.callback(remove_bucket, server.settings())
            proxy = S3Proxy(server.endpoint, seed)
            stack.callback(proxy.stop)
            own |= server.environment() | {"MINIO_ENDPOINT": proxy.address}
            settings = server.settings()
        home, temporary = folder / "home", folder / "temporary"
        for path in (home, temporary):
            path.mkdir(mode=0o700)
        if small_disks:
            own["TMPDIR"] = str(temporary)
            for name, path in {"objects": home / "objects", "temporary": temporary}.items():
                disks[name] = stack.enter_context(_small_disk(path))
        up = stack.enter_context(running_up(folder, SLOTS, **own))
        yield Scene(up, random.Random(seed), own, settings, proxy, disks)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    options = f"size={DISK_MB}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remove_bucket(settings: ObjectSettings) -> None:
    async def remove() -> None:
        from service.store.objects.s3 import S3ObjectStore

        store = S3ObjectStore(settings)
        client = await store._client()
        async for page in store.list(settings.bucket, ""):
            for info in page:
                await client.delete_object(Bucket=settings.bucket, Key=info.key)
        await client.delete_bucket(Bucket=settings.bucket)
        await store.close()

    with suppress(Exception):  # the server ends soon, and it is a bucket of the test's own
        asyncio.run(remove())

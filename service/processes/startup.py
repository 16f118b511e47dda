"""Open PostgreSQL and the object store. A failure is one line that names the variable and no secret."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from service.child_process import child_environment
from service.config import Settings
from service.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.private_files import NotPrivate, make_home_private
from service.store.database import Database
from service.store.objects.drivers import open_object_store
from service.store.objects.object_store import ObjectStore, ObjectStoreError
from service.store.schema import is_current

CONNECT_TIMEOUT_S = 12.0
DIRECT = "REELMILL_DATABASE_DIRECT_URL"


@dataclass(slots=True)
class SharedState:
    """PostgreSQL and the object store, both tested. `close` also stops the embedded server, if there is one."""

    database: Database
    objects: ObjectStore
    local_secret: SecretStr | None
    embedded: EmbeddedPostgres | None

    def require_database(self) -> None:
        """Raises StartupError if this process ends because the embedded server is lost."""
        if self.embedded is not None and self.embedded.failure is not None:
            raise StartupError(f"embedded PostgreSQL (REELMILL_HOME): {self.embedded.failure}")

    async def close(self) -> None:
        await self.objects.close()
        await self.database.close()
        if self.embedded is not None:
            self.embedded.stop()


async def open_shared_state(settings: Settings, *, migrated: bool = True) -> SharedState:
    """Open PostgreSQL (started or reached, then migrated unless that is not wanted) and the object store at the same
    time.

    Raises the first failure, after whatever was open by then has been closed.
    """
    async with AsyncExitStack() as opened:

        async def enter_database() -> tuple[EmbeddedPostgres | None, str]:
            embedded, url = await open_database(settings, migrated=migrated)
            if embedded is not None:
                opened.callback(embedded.stop)
            return embedded, url

        async def enter_object_store() -> ObjectStore:
            objects = await connect_object_store(settings)
            opened.push_async_callback(objects.close)
            return objects

        try:
            async with asyncio.TaskGroup() as group:
                postgres, objects = group.create_task(enter_database()), group.create_task(enter_object_store())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        embedded, url = postgres.result()
        database = Database(url, settings.database)
        secret = local_secret(settings.process.home) if embedded else None
        opened.pop_all()
        return SharedState(database, objects.result(), secret, embedded)


async def open_database(settings: Settings, *, migrated: bool = True) -> tuple[EmbeddedPostgres | None, str]:
    """The embedded server, if there is one, and the URL of the database. Raises StartupError."""
    if settings.database.url:
        url = _validate_url("DATABASE_URL", settings.database.url)
        direct = _validate_url(DIRECT, settings.database.direct_url) if settings.database.direct_url else url
        if await _reach("DATABASE_URL", url) and direct == url:
            raise StartupError(
                f"{DIRECT}: DATABASE_URL is that of a connection pooler: set this one to the URL of PostgreSQL itself"
            )
        if direct != url and await _reach(DIRECT, direct):
            raise StartupError(f"{DIRECT}: this is a connection pooler, too")
        if migrated:
            await _ensure_migrated(direct)
        return None, url
    server = EmbeddedPostgres(settings.process.home)
    try:
        url = await asyncio.to_thread(server.start)
        if migrated:
            await _ensure_migrated(url)
    except (EmbeddedPostgresError, OSError) as error:
        raise StartupError(f"embedded PostgreSQL (REELMILL_HOME): {error}") from error
    except BaseException:
        server.stop()
        raise
    return server, url


async def connect_object_store(settings: Settings) -> ObjectStore:
    """An object store that has been tested. Raises StartupError."""
    if settings.objects.endpoint is None:
        await asyncio.to_thread(_shut_others_out, settings.process.home)
    objects = open_object_store(settings.objects, settings.process.home)
    async with AsyncExitStack() as on_failure:
        on_failure.push_async_callback(objects.close)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await objects.check()
        except ObjectStoreError as error:
            raise StartupError(str(error)) from error
        except TimeoutError as error:
            raise StartupError(f"MINIO_ENDPOINT: no answer within {CONNECT_TIMEOUT_S:.0f} s") from error
        on_failure.pop_all()
    return objects


def _shut_others_out(home: Path) -> None:
    try:
        make_home_private(home)
    except (NotPrivate, OSError) as error:
        raise StartupError(f"REELMILL_HOME: {error}") from error


def _validate_url(variable: str, url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StartupError(f"{variable}: this is not a database URL (postgresql://user:password@host/name)") from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise StartupError(f"{variable}: only postgresql:// is supported")
    return parsed.set(drivername="postgresql").render_as_string(hide_password=False)


async def _reach(variable: str, url: str) -> bool:
    """Whether a pooler answers, and not PostgreSQL itself. Raises StartupError if nobody does."""
    address = make_url(url).set(password=None, username=None, query={}).render_as_string()
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
        try:
            async with connection.transaction():  # PgBouncer makes up a process number for each client
                return bool(connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()"))
        finally:
            await connection.close()
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise StartupError(f"{variable}: {address} refused the user or the password") from error
    except asyncpg.PostgresError as error:
        raise StartupError(f"{variable}: {address}: {error.sqlstate} {type(error).__name__}") from error
    except (OSError, TimeoutError) as error:
        raise StartupError(f"{variable}: {address} cannot be reached ({type(error).__name__})") from error


async def _ensure_migrated(url: str) -> None:
    """Migrate in a child process unless the schema is current. Raises StartupError."""
    if await is_current(url):
        return
    command = [sys.executable, "-m", "service.processes.migration"]
    child = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, env=child_environment()
    )
    _, output = await child.communicate(f"{url}\n".encode())
    if child.returncode:
        lines = output.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "the schema could not be migrated"
        raise StartupError(reason if child.returncode == StartupError.exit_code else f"DATABASE_URL: {reason}")

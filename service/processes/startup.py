"""Open PostgreSQL and the object store, or refuse to start with one line that names the variable and no secret."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass

import asyncpg
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from service.child_process import child_environment
from service.config import Settings
from service.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.store.database import Database
from service.store.objects.drivers import open_object_store
from service.store.objects.object_store import ObjectStore, ObjectStoreError
from service.store.schema import is_current

CONNECT_TIMEOUT_S = 12.0


@dataclass(slots=True)
class SharedState:
    """PostgreSQL and the object store, proven at start; `close` also leaves the embedded server."""

    database: Database
    objects: ObjectStore
    local_secret: SecretStr | None
    embedded: EmbeddedPostgres | None

    async def close(self) -> None:
        await self.objects.close()
        await self.database.close()
        self.stop_embedded()

    def stop_embedded(self) -> None:
        if self.embedded is not None:
            self.embedded.stop()


async def open_shared_state(settings: Settings) -> SharedState:
    """PostgreSQL (started or reached, then migrated) and the object store, at once: the first that refuses is told."""
    opening = asyncio.create_task(open_database(settings)), asyncio.create_task(connect_object_store(settings))
    try:
        (embedded, url), objects = await asyncio.gather(*opening)
    except BaseException:
        await _close_opened(*opening)
        raise
    database = Database(url, settings.database)
    secret = local_secret(settings.process.home) if embedded else None
    return SharedState(database, objects, secret, embedded)


async def _close_opened(
    database: "asyncio.Task[tuple[EmbeddedPostgres | None, str]]", objects: "asyncio.Task[ObjectStore]"
) -> None:
    """One of them refused: what the other has opened, or was opening, is closed."""
    database.cancel()
    objects.cancel()
    reached, stored = await asyncio.gather(database, objects, return_exceptions=True)
    if not isinstance(stored, BaseException):
        await stored.close()
    if not isinstance(reached, BaseException) and reached[0] is not None:
        reached[0].stop()


async def open_database(settings: Settings) -> tuple[EmbeddedPostgres | None, str]:
    """The URL of a migrated database, and the embedded server when there is one."""
    if settings.database.url:
        url = _validate_url(settings.database.url)
        await _test_connection(url)
        await _ensure_migrated(url)
        return None, url
    server = EmbeddedPostgres(settings.process.home)
    try:
        url = await asyncio.to_thread(server.start)
        await _ensure_migrated(url)
    except (EmbeddedPostgresError, OSError) as error:
        raise StartupError(f"embedded PostgreSQL (REELMILL_HOME): {error}") from error
    except BaseException:
        server.stop()
        raise
    return server, url


async def connect_object_store(settings: Settings) -> ObjectStore:
    """A store that has shown that it can be used."""
    objects = open_object_store(settings.objects, settings.process.home)
    try:
        await _check_object_store(objects)
    except BaseException:
        await objects.close()
        raise
    return objects


async def _check_object_store(objects: ObjectStore) -> None:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await objects.check()
    except ObjectStoreError as error:
        raise StartupError(str(error)) from error
    except TimeoutError as error:
        raise StartupError(f"MINIO_ENDPOINT: no answer within {CONNECT_TIMEOUT_S:.0f} s") from error


def _validate_url(url: str) -> str:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StartupError("DATABASE_URL: this is not a database URL (postgresql://user:password@host/name)") from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise StartupError("DATABASE_URL: only postgresql:// is supported")
    return parsed.set(drivername="postgresql").render_as_string(hide_password=False)


async def _test_connection(url: str) -> None:
    where = make_url(url).set(password=None, username=None).render_as_string()
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
        await connection.close()
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise StartupError(f"DATABASE_URL: {where} refused the user or the password") from error
    except asyncpg.PostgresError as error:
        raise StartupError(f"DATABASE_URL: {where}: {error.sqlstate} {type(error).__name__}") from error
    except (OSError, TimeoutError) as error:
        raise StartupError(f"DATABASE_URL: {where} cannot be reached ({type(error).__name__})") from error


async def _ensure_migrated(url: str) -> None:
    """At once when the schema is the newest. Raises StartupRefused."""
    if await is_current(url):
        return
    code, said = await _run_migration(url)
    if code:
        reason = (said.strip().splitlines() or ["the schema could not be migrated"])[-1]
        raise StartupError(reason if code == StartupError.exit_code else f"DATABASE_URL: {reason}")


async def _run_migration(url: str) -> tuple[int, str]:
    """The exit code of the migration's process, and what it said."""
    command = [sys.executable, "-m", "service.processes.migration"]
    child = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=DEVNULL, stderr=PIPE, env=child_environment()
    )
    _, said = await child.communicate(f"{url}\n".encode())
    return child.returncode or 0, said.decode(errors="replace")

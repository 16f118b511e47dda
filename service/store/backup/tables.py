"""Rows of all tables as of one moment, written to an archive, and loaded into an empty database.

PostgreSQL's text format of COPY is the same in every version, and needs no program of it.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.store.backup.archive import Archive, ArchiveWriter, BackupError, Manifest, TableContent
from service.store.catalog.follows import follows
from service.store.database import Database
from service.store.schedules.tables import schedules
from service.store.schema import revisions, upgrade

PART_BYTES = 1024 * 1024
# Tables in files of their own, which are known only once they are imported.
OF_OTHER_FILES = (follows, schedules)
metadata = OF_OTHER_FILES[0].metadata
# Rows of processes that are alive, which are not there after a restoration, and their maintenance and comparison of
# bucket and database, which begin anew. Migrations fill `transitions`.
OF_PROCESSES = frozenset({"workers", "devices", "capabilities", "consistency_checks", "maintenance_rounds"})
# Rows of objects that are made again when they are needed.
OF_CACHES = frozenset({"segment_cache", "previews"})

# Without `row_security`, PostgreSQL refuses what would leave rows out because of a policy. A dump may take long.
PREPARE_COPY = """SELECT set_config('row_security', 'off', true), set_config('statement_timeout', '0', true),
    set_config('idle_in_transaction_session_timeout', '0', true), set_config('timezone', 'UTC', true),
    set_config('datestyle', 'ISO', true)"""
SELECT_REVISION = "SELECT version_num FROM alembic_version"
SELECT_COLUMNS = """SELECT attname FROM pg_attribute WHERE attrelid = CAST($1 AS regclass) AND attnum > 0
    AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""
# Those of columns of these tables: a schema may have others that are not ours.
SELECT_SEQUENCES = """SELECT s.sequencename, s.last_value FROM pg_sequences s
    JOIN pg_depend d ON d.objid = CAST(format('%I.%I', s.schemaname, s.sequencename) AS regclass)
    WHERE s.schemaname = current_schema() AND s.last_value IS NOT NULL
        AND d.deptype IN ('a', 'i') AND d.refobjid = ANY(CAST($1::text[] AS regclass[]))"""
SELECT_OURS = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL")
SET_SEQUENCE = text("SELECT setval(CAST(:name AS regclass), :value)")


@asynccontextmanager
async def translate_database_errors() -> AsyncIterator[None]:
    """Raise BackupError for what PostgreSQL or its connection says."""
    try:
        yield
    except (DBAPIError, asyncpg.PostgresError) as error:
        cause = getattr(error, "orig", error)
        raise BackupError(f"DATABASE_URL: {getattr(cause, 'sqlstate', '')} {cause}".split("\n")[0]) from error
    except (asyncpg.InterfaceError, ConnectionError, TimeoutError) as error:
        raise BackupError(f"DATABASE_URL: the connection is lost ({type(error).__name__})") from error


@asynccontextmanager
async def open_snapshot(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction that sees all rows as of its begin, and changes nothing."""
    async with translate_database_errors(), database.separate_connection() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with connection.begin():
            await connection.execute(text(PREPARE_COPY))
            yield await driver_of(connection)


def table_names(*, caches: bool) -> list[str]:
    """The tables of a backup, parents before those that refer to them."""
    left_out = OF_PROCESSES if caches else OF_PROCESSES | OF_CACHES
    return [table.name for table in metadata.sorted_tables if table.name not in left_out]


async def dump_tables(
    snapshot: asyncpg.Connection, archive: ArchiveWriter, manifest: Manifest, names: Iterable[str]
) -> None:
    """Write these tables, and note them in the manifest."""
    manifest.schema = await snapshot.fetchval(SELECT_REVISION)
    for name in names:
        columns = [row["attname"] for row in await snapshot.fetch(SELECT_COLUMNS, name)]
        manifest.tables[name] = await _dump_table(snapshot, archive, name, columns)
    for row in await snapshot.fetch(SELECT_SEQUENCES, list(manifest.tables)):
        manifest.sequences[row["sequencename"]] = row["last_value"]


async def _dump_table(
    snapshot: asyncpg.Connection, archive: ArchiveWriter, name: str, columns: list[str]
) -> TableContent:
    content, digest, buffer = TableContent(columns), hashlib.sha256(), bytearray()

    def write_part() -> None:
        content.parts.append(archive.add_part(f"tables/{name}", bytes(buffer)))
        buffer.clear()

    async def write(data: bytes) -> None:
        digest.update(data)
        buffer.extend(data)
        if len(buffer) >= PART_BYTES:
            write_part()

    status = await snapshot.copy_from_table(name, columns=columns, output=write, format="text", encoding="utf-8")
    if buffer:
        write_part()
    content.rows, content.sha256 = int(status.split()[-1]), digest.hexdigest()
    return content


async def copy_query(snapshot: asyncpg.Connection, file: BinaryIO, query: str, *values: str) -> None:
    """Write the lines of a query into a file, and rewind it."""
    await snapshot.copy_from_query(query, *values, output=file, format="text", encoding="utf-8")
    file.seek(0)


async def require_empty_database(connection: AsyncConnection) -> None:
    """Raises BackupError if there is a schema of ours, even without rows."""
    names = ["alembic_version", *metadata.tables]
    if (name := await connection.scalar(SELECT_OURS, {"names": names})) is not None:
        raise BackupError(
            f"the database has Reelmill's table {name} already, and a backup is restored into an empty one only: "
            "create a database and name it in DATABASE_URL, or choose a new REELMILL_HOME"
        )


def require_known_schema(manifest: Manifest) -> None:
    """Raises BackupError for a schema that is newer than ours."""
    if manifest.schema not in revisions():
        raise BackupError(
            f"the backup was made by Reelmill {manifest.version}, whose tables (revision {manifest.schema}) this "
            "version does not know: restore it with that version or a newer one"
        )


async def load_tables(connection: AsyncConnection, archive: Archive) -> None:
    """Create the schema that the archive has, load its rows, and upgrade it to our own, in the connection's
    transaction. Raises BackupError."""
    await upgrade(connection, archive.manifest.schema)
    await connection.execute(text(PREPARE_COPY))
    tables = archive.manifest.tables
    if not all(re.fullmatch("[a-z_]+", name) for name in tables):
        raise BackupError("the manifest has names that no table of Reelmill has")
    await connection.execute(text(f"TRUNCATE {', '.join(tables)} CASCADE"))  # migrations have filled some
    driver = await driver_of(connection)
    for name, content in tables.items():
        await _load_table(driver, archive, name, content)
    for sequence, value in archive.manifest.sequences.items():
        await connection.execute(SET_SEQUENCE, {"name": sequence, "value": value})
    await upgrade(connection)


async def _load_table(driver: asyncpg.Connection, archive: Archive, name: str, content: TableContent) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for span in content.parts:
            yield archive.read_part(span)

    status = await driver.copy_to_table(name, columns=content.columns, source=parts(), format="text", encoding="utf-8")
    if int(status.split()[-1]) != content.rows:
        raise BackupError(f"{name} has {content.rows} rows in the manifest, and {status.split()[-1]} in the backup")


async def driver_of(connection: AsyncConnection) -> Any:
    """asyncpg's connection, in the same transaction: SQLAlchemy has no COPY."""
    return (await connection.get_raw_connection()).driver_connection

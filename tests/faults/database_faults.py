"""What a database does to its clients while it runs: connections end, notifications are lost, locks are held, no
connection is free, an old transaction stays open."""

import asyncio
import threading
import time

import asyncpg

from tests.faults.scene import Faults, Scene

LOCK_S, OLD_TRANSACTION_S, CROWD_S = 2.5, 20.0, 2.5
CROWD = 110  # more than max_connections
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def database_faults(scene: Scene) -> Faults:
    return {
        "cut all connections to the database": lambda: _query(scene, CUT),
        "lose the notifications": lambda: _query(scene, f"{CUT} AND query LIKE 'LISTEN%'"),
        "cut the open transactions": lambda: _query(scene, f"{CUT} AND state = 'idle in transaction'"),
        "cancel all statements": lambda: _query(scene, CUT.replace("terminate", "cancel") + " AND state = 'active'"),
        "lock the tasks": lambda: _lock(scene, "tasks"),
        "lock the renders": lambda: _lock(scene, "renders"),
        "no connection is free": lambda: _crowd(scene),
        "an old transaction stays open": lambda: _hold_transaction(scene),
        "a checkpoint": lambda: _query(scene, "CHECKPOINT"),
    }


def _query(scene: Scene, statement: str) -> None:
    scene.query(statement)


def _lock(scene: Scene, table: str) -> None:
    async def hold(connection: "asyncpg.Connection") -> None:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(LOCK_S)

    scene.with_connection(hold)


def _hold_transaction(scene: Scene) -> None:
    """In a thread: the storm goes on meanwhile."""

    async def hold(connection: "asyncpg.Connection") -> None:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT count(*) FROM tasks")
            await asyncio.sleep(OLD_TRANSACTION_S)

    def run() -> None:
        try:
            scene.with_connection(hold)
        except OSError:
            return  # the database went away meanwhile, and with it the transaction

    threading.Thread(target=run, daemon=True).start()


def _crowd(scene: Scene) -> None:
    """Somebody else's clients take all the connections that are left."""

    async def crowd() -> None:
        url, deadline = scene.database_url, time.monotonic() + CROWD_S
        opened: list[asyncpg.Connection] = []
        try:
            while len(opened) < CROWD and time.monotonic() < deadline:
                opened.append(await asyncpg.connect(url, timeout=2))
        except (asyncpg.PostgresError, OSError, TimeoutError):
            await asyncio.sleep(max(deadline - time.monotonic(), 0))
        finally:
            for connection in opened:
                connection.terminate()

    asyncio.run(crowd())

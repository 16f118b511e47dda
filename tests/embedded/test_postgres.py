"""The embedded server is shared, stops with its last client, and loses nothing when everything is killed."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.embedded import cluster, postgres
from service.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from tests.support.patience import PATIENCE_S
from tests.support.processes.up import launcher_pid, postmaster_pid, server_is_gone, server_processes


def query(url: str, sql: str) -> list[Any]:
    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    return asyncio.run(run())


def test_data_survives_a_restart_and_the_server_leaves_with_its_client(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as url:
        query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert server_is_gone(tmp_path)
    with EmbeddedPostgres(tmp_path) as url:
        assert query(url, "SELECT answer FROM kept") == [(42,)]
    assert server_is_gone(tmp_path)
    assert (tmp_path / "postgres" / "password").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "postgres" / "data").stat().st_mode & 0o077 == 0


def test_nothing_is_laid_into_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    with EmbeddedPostgres(tmp_path / "home"):
        assert list(temporary.iterdir()) == []
    assert server_is_gone(tmp_path)


def test_a_start_during_the_stop_works(tmp_path: Path) -> None:
    """The next launcher takes over although the last one removes its socket."""
    for wait_s in (0.9, 1.0, 1.1, 1.2, 1.3):
        with EmbeddedPostgres(tmp_path) as url:
            assert query(url, "SELECT 1") == [(1,)]
        time.sleep(wait_s)
    assert server_is_gone(tmp_path)


def test_a_home_may_be_deeper_than_the_path_of_a_socket(tmp_path: Path) -> None:
    home = tmp_path / ("deep" * 20) / ("deeper" * 20)
    with EmbeddedPostgres(home) as url:
        assert query(url, "SELECT 1") == [(1,)]
    assert server_is_gone(tmp_path)


def test_a_home_that_is_a_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(EmbeddedPostgresError, match=r"home/postgres cannot be created \(Not a directory\)"):
        EmbeddedPostgres(tmp_path / "home").start()


def test_two_clients_share_one_server(tmp_path: Path) -> None:
    first, second = EmbeddedPostgres(tmp_path), EmbeddedPostgres(tmp_path)
    url = first.start()
    assert second.start() == url
    first.stop()
    time.sleep(2)
    assert query(url, "SELECT 1") == [(1,)]
    second.stop()
    assert server_is_gone(tmp_path)


def test_kill_9_of_everything_loses_nothing(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    query(server.start(), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    server.stop()
    for pid in server_processes(tmp_path):
        os.kill(pid, signal.SIGKILL)
    assert server_is_gone(tmp_path)
    with EmbeddedPostgres(tmp_path) as url:
        assert query(url, "SELECT count(*) FROM kept") == [(1000,)]


def answers(url: str, seconds: float = PATIENCE_S) -> bool:
    """Whether the server answers at this address in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return query(url, "SELECT count(*) FROM kept") == [(1000,)]
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("find", [launcher_pid, postmaster_pid])
def test_what_is_killed_or_hangs_is_replaced(
    tmp_path: Path, find: Callable[[Path], int], number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same address, with all data, and without the client noticing more than an outage."""
    monkeypatch.setattr(postgres, "PING_TIMEOUT_S", 1.0)
    server = EmbeddedPostgres(tmp_path)
    url = server.start()
    query(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    pid = find(tmp_path)
    os.kill(pid, number)
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answers(url) and find(tmp_path) != pid
    assert server.failure is None
    server.stop()
    assert server_is_gone(tmp_path)


def test_a_launcher_that_hangs_without_clients_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who would have noticed was killed meanwhile, and comes back."""
    monkeypatch.setattr(postgres, "PING_TIMEOUT_S", 1.0)
    first = EmbeddedPostgres(tmp_path)
    url = first.start()
    query(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    hung = launcher_pid(tmp_path)
    freeze(hung)
    first.stop()
    with EmbeddedPostgres(tmp_path) as again:
        assert answers(again) and launcher_pid(tmp_path) != hung
    assert server_is_gone(tmp_path)


def freeze(pid: int) -> None:
    """Its threads run on until its first one has seen the signal."""
    os.kill(pid, signal.SIGSTOP)
    while "T (stopped)" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.01)


def test_a_server_that_does_not_stop_when_its_launcher_dies_is_replaced(tmp_path: Path) -> None:
    """Its checkpointer hangs, or its disk is slow: it has the data until the next launcher ends it."""
    with EmbeddedPostgres(tmp_path) as url:
        query(url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        before = postmaster_pid(tmp_path)
        (checkpointer,) = query(url, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")[0]
        os.kill(checkpointer, signal.SIGSTOP)
        os.kill(launcher_pid(tmp_path), signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while postmaster_pid(tmp_path) == before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert answers(url)
    assert server_is_gone(tmp_path)


def test_a_server_that_does_not_start_again_ends_its_client(tmp_path: Path) -> None:
    """With one line that says why: here its data are damaged while it runs."""
    script = (
        "import signal, sys, threading; from pathlib import Path; from service.embedded import postgres;"
        "postgres.REJOIN_DELAYS_S = (0.1, 0.5); server = postgres.EmbeddedPostgres(Path(sys.argv[1]));"
        "signal.signal(signal.SIGTERM, lambda *_: (print(server.failure, flush=True), sys.exit(3)));"
        "print(server.start(), flush=True); threading.Event().wait(100)"
    )
    client = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None and client.stdout.readline().startswith("postgresql://")
    (tmp_path / "postgres" / "data" / "global" / "pg_control").write_bytes(b"")
    os.kill(postmaster_pid(tmp_path), signal.SIGKILL)
    lines = client.communicate(timeout=90)[0].splitlines()
    assert client.returncode == 3
    assert "PostgreSQL does not start" in lines[-1] and "DATABASE_URL" in lines[-1]
    assert server_is_gone(tmp_path, 30)


def test_a_killed_client_lets_the_server_go(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from service.embedded.postgres import EmbeddedPostgres;"
        "print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True); time.sleep(60)"
    )
    client = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None and client.stdout.readline().startswith("postgresql://")
    client.kill()
    client.wait()
    client.stdout.close()
    assert server_is_gone(tmp_path)


def test_an_interrupted_initdb_is_no_database(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "making-dead"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with EmbeddedPostgres(tmp_path) as url:
        assert query(url, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_only_the_password_lets_in(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as url:
        user, _, rest = url.partition("@")
        with pytest.raises(asyncpg.InvalidPasswordError):
            query(f"{user.rpartition(':')[0]}:wrong@{rest}", "SELECT 1")


def test_no_programs_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(cluster, "_system_folders", list)
    with pytest.raises(EmbeddedPostgresError, match="DATABASE_URL"):
        cluster.find_binaries()

"""Other users of the machine get at nothing, whatever was there before; what they lay in the way is not used."""

import itertools
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from service.embedded import launcher
from service.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.errors import StartupError
from service.identity.local_secret import local_secret
from service.private_files import NotPrivate, make_home_private, private_folder, read_private_text
from tests.support.processes.up import server_is_gone

# Another user, if this one may act as it.
NOBODY = 65534
FORK = get_context("fork")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@contextmanager
def as_nobody(target: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """Run `target(connection, *arguments)` as another user in a process of its own, which is killed at the end.

    It is forked, because that user may have no right to run this Python.
    """
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_become_nobody, args=(target, theirs, *arguments))
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def _become_nobody(target: Callable[..., None], *arguments: object) -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    target(*arguments)


def receive(connection: Connection) -> Any:
    assert connection.poll(30)
    return connection.recv()


@pytest.fixture
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user may write to, whose parents every user may enter."""
    folder = Path("/tmp", f"shared-{os.getpid()}-{time.monotonic_ns()}")
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def open_to_others(top: Path) -> list[str]:
    """Names below `top`, and itself, to which others have rights; links have none of their own."""
    paths = [top, *top.rglob("*")]
    return [str(path) for path in paths if not path.is_symlink() and path.lstat().st_mode & 0o077]


def test_a_home_of_before_is_tightened_with_all_that_is_in_it(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    (home / "objects" / "reelmill" / "frames").mkdir(parents=True)
    picture, program = home / "objects" / "reelmill" / "frames" / "0.jpg", home / "objects" / "program"
    outside.write_text("mine")
    outside.chmod(0o644)
    for path, mode in ((picture, 0o644), (program, 0o755)):
        path.write_text("x")
        path.chmod(mode)
    (home / "objects" / "camera").symlink_to(outside)
    for folder in (home / "objects" / "reelmill" / "frames", home / "objects" / "reelmill", home / "objects", home):
        folder.chmod(0o777)
    make_home_private(home)
    assert open_to_others(home) == []
    assert stat.S_IMODE(program.stat().st_mode) == 0o700, "what can be run still can"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644, "links lead to what is not ours to change"


def test_a_start_that_was_interrupted_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / "home" / "objects" / name).mkdir(parents=True)
        (tmp_path / "home" / "objects" / name / "frame").write_text("x")
    calls, chmod = [], os.chmod

    def chmod_until_killed(*arguments: Any, **more: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        chmod(*arguments, **more)

    monkeypatch.setattr(os, "chmod", chmod_until_killed)
    with pytest.raises(KeyboardInterrupt):
        make_home_private(tmp_path / "home")
    monkeypatch.undo()
    assert open_to_others(tmp_path / "home")
    make_home_private(tmp_path / "home")
    assert open_to_others(tmp_path / "home") == []


def test_a_home_behind_a_link_is_used(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    make_home_private(tmp_path / "home")
    assert open_to_others(tmp_path / "disk") == []


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "postgres").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPrivate, match="postgres is a symbolic link"), private_folder(tmp_path / "postgres"):
        pass
    with pytest.raises(EmbeddedPostgresError, match="postgres is a symbolic link: remove it"):
        EmbeddedPostgres(tmp_path).start()


def test_a_secret_that_others_could_read_is_shut(tmp_path: Path) -> None:
    secret = tmp_path / "jwt-secret"
    secret.write_text("s" * 40)
    secret.chmod(0o644)
    assert local_secret(tmp_path).get_secret_value() == "s" * 40
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_secret_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("s" * 40)
    (tmp_path / "jwt-secret").symlink_to(tmp_path / "other")
    with pytest.raises(StartupError, match="symbolic link"):
        local_secret(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_private_text(tmp_path / "none")


def lay_down(connection: Connection, folder: Path) -> None:
    (folder / "home" / "postgres").mkdir(parents=True)
    (folder / "jwt-secret").write_text("s" * 40)
    connection.send("done")


@needs_root
def test_what_another_user_owns_is_refused(shared_folder: Path) -> None:
    with as_nobody(lay_down, shared_folder) as connection:
        receive(connection)
    with pytest.raises(NotPrivate, match="home belongs to another user"):
        make_home_private(shared_folder / "home")
    folder = shared_folder / "home" / "postgres"
    with pytest.raises(NotPrivate, match="postgres belongs to another user"), private_folder(folder):
        pass
    with pytest.raises(StartupError, match="not a file of this user"):
        local_secret(shared_folder)


def forge(connection: Connection, folder: Path) -> None:
    """A launcher of another user, which tells everybody a database of its own."""
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "launcher.sock"))
        for path in (folder, folder / "launcher.sock"):
            path.chmod(0o777)
        listener.listen()
        connection.send("listening")
        while True:
            client = listener.accept()[0]
            with suppress(OSError):
                client.sendall(b'{"url": "postgresql://forged"}\n')
            client.close()


def flip(connection: Connection, link: Path, *targets: Path) -> None:
    following = link.with_suffix(".next")
    link.symlink_to(targets[0])
    connection.send("flipping")
    for target in itertools.cycle(targets):
        following.symlink_to(target)
        following.replace(link)


@needs_root
def test_a_link_that_flips_between_two_folders_leads_nowhere(shared_folder: Path) -> None:
    """The folder is replaced all the time, by a link to a folder of ours and by one to the attacker's."""
    link, good, bad = shared_folder / "home", shared_folder / "good", shared_folder / "bad"
    good.mkdir(mode=0o700)
    refused = 0
    with as_nobody(forge, bad) as forging, as_nobody(flip, link, good, bad) as flipping:
        assert (receive(forging), receive(flipping)) == ("listening", "flipping")
        client, deadline = EmbeddedPostgres(good), time.monotonic() + 2
        while time.monotonic() < deadline:
            assert client._connect(f"{link}/launcher.sock") is None
            try:
                with private_folder(link):
                    pytest.fail("a link was followed")
            except (NotPrivate, OSError):
                refused += 1
    assert refused


def ask(connection: Connection, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        with suppress(ConnectionError):
            connection.send(client.recv(1000))


@needs_root
def test_the_launcher_tells_other_users_nothing(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "FIRST_CLIENT_TIMEOUT_S", 3.0)
    path = shared_folder / "launcher.sock"
    listener = launcher._listen(str(path))
    path.chmod(0o777)
    with as_nobody(ask, path) as connection:  # it waits in the queue of the socket
        clients = launcher.Clients(listener)
        clients.reply({"url": "secret"})
        serving = threading.Thread(target=clients.serve)
        serving.start()
        assert receive(connection) == b""
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(str(path))
        assert own.recv(64) == b'{"url": "secret"}\n'
    serving.join()
    listener.close()


def look(connection: Connection, home: Path) -> None:
    connection.send([name for _, folders, files in os.walk(home) for name in (*folders, *files)])


@needs_root
def test_other_users_see_nothing_of_a_running_server(shared_folder: Path) -> None:
    home = shared_folder / "home"
    (home / "postgres").mkdir(parents=True)
    (home / "postgres" / "launcher.lock").touch()
    with EmbeddedPostgres(home) as url:
        assert url.startswith("postgresql://reelmill:")
        assert open_to_others(home / "postgres" / "data") == []
        with as_nobody(look, home) as connection:
            assert receive(connection) == []
    assert server_is_gone(home)

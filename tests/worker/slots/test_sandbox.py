"""What hostile code in a slot can reach: tried by a real slot process, which is taken over instead of doing its work."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.scratch import PREFIX, make_scratch, sweep_scratch
from service.store.settings import ObjectSettings
from service.worker.slots import child, sandbox
from service.worker.slots.current_item import CurrentItem
from service.worker.slots.messages import SlotConfig, SlotReady, TaskFailed
from service.worker.slots.process import SlotProcess
from tests.support.processes.supervisor import slot_config
from tests.worker.slots.test_hostile_slots import SEGMENT

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has Landlock and seccomp"),
]


def attempts(home: Path, port: int) -> Iterator[tuple[str, bool]]:
    """What the intruder tries, and whether it succeeds."""

    def succeeds(action: object) -> bool:
        try:
            action()  # type: ignore[operator]
        except OSError:
            return False
        return True

    yield "read the secret of tokens", succeeds((home / "jwt-secret").read_bytes)
    yield "read the password of the database", succeeds((home / "postgres" / "password").read_bytes)
    yield "read /etc/passwd", succeeds(Path("/etc/passwd").read_bytes)
    yield "list the home", succeeds(lambda: list(home.iterdir()))
    yield "read the environment of the worker", succeeds(Path(f"/proc/{os.getppid()}/environ").read_bytes)
    yield "write into the home", succeeds(lambda: (home / "new").write_bytes(b""))
    yield "write into the temporary folder", succeeds(lambda: Path(f"/tmp/reelmill-{os.getpid()}").write_bytes(b""))
    yield (
        "connect to a port of this machine",
        succeeds(lambda: socket.create_connection(("127.0.0.1", port), 2).close()),
    )
    yield "open a socket of this machine", succeeds(lambda: socket.socket(socket.AF_UNIX).close())
    yield "listen", succeeds(lambda: socket.create_server(("127.0.0.1", 0)).close())
    yield "start a program", succeeds(lambda: subprocess.run(["/bin/true"], check=True))
    yield "signal the worker", succeeds(lambda: os.kill(os.getppid(), 0))
    yield "read objects", succeeds(lambda: list((home / "objects").iterdir()))
    yield "write an object", succeeds(lambda: (home / "objects" / "reelmill" / "x").write_bytes(b""))


def intrude(config: SlotConfig, connection: Connection, parent_pid: int, current: CurrentItem) -> None:
    """As the real slot, until it would serve commands."""

    def take_over(_execute: object, connection: Connection, *_: object) -> None:
        connection.recv()
        port = int((config.scratch / "port").read_text()) if config.scratch else 0
        reached = [name for name, success in attempts(config.home, port) if success]
        connection.send(TaskFailed("reached", ", ".join(reached)))
        time.sleep(60)

    child._serve_commands = take_over  # type: ignore[assignment]
    child.main(config, connection, parent_pid, current)


def make_home(folder: Path) -> Path:
    (folder / "objects" / "reelmill").mkdir(parents=True)
    (folder / "postgres").mkdir()
    for name in ("jwt-secret", "postgres/password"):
        (folder / name).write_text("secret")
    return folder


async def find_reached(config: SlotConfig) -> set[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=server.accept, daemon=True).start()
        slot = SlotProcess(config, 0, intrude)
        try:
            await slot.start()
            assert slot._scratch is not None
            (slot._scratch / "port").write_text(str(server.getsockname()[1]))
            assert slot.sandbox_gaps == ()
            outcome = await slot.execute(SEGMENT)
        finally:
            slot.kill()
        assert isinstance(outcome, TaskFailed) and outcome.code == "reached", outcome
        return set(filter(None, outcome.reason.split(", ")))


async def test_a_slot_reaches_objects_and_nothing_else(tmp_path: Path) -> None:
    assert await find_reached(slot_config(make_home(tmp_path))) == {"read objects", "write an object"}


async def test_a_slot_of_an_s3_store_has_no_objects_and_one_port(tmp_path: Path) -> None:
    settings = ObjectSettings.model_construct(endpoint="http://127.0.0.1:9", access_key="a", secret_key=SecretStr("b"))
    config = replace(slot_config(make_home(tmp_path)), objects=settings)
    assert await find_reached(config) == set()


async def test_without_its_walls_all_of_it_is_reached(tmp_path: Path) -> None:
    """The attempts are real: without the sandbox they succeed, but for what a slot without privileges cannot do."""
    made = make_home(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        succeeded = {name for name, success in attempts(made, server.getsockname()[1]) if success}
    assert len(succeeded) == 14


def test_the_filter_is_the_same_for_both_architectures() -> None:
    for machine in sandbox.AUDIT_ARCHITECTURES:
        offline, online = (len(sandbox.build_filter(machine, network=network)) // 8 for network in (False, True))
        assert online == offline + 2, "two families of sockets"
        assert offline < 256, "jumps are of one byte"


def test_folders_of_dead_workers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"{PREFIX}{dead.pid}-abc"
    (left / "deep").mkdir(parents=True)
    (left / "deep" / "video.mp4").write_bytes(b"half")
    own, foreign = make_scratch(), tmp_path / f"{PREFIX}notes"
    foreign.mkdir()
    assert sweep_scratch() == 1
    assert not left.exists() and own.is_dir() and foreign.is_dir()


def test_a_folder_of_a_worker_in_another_container_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process id means nothing here."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command = f"""import os; os.getpid = lambda: {2**22 + 1}
from service.scratch import make_scratch
print(make_scratch(), flush=True); input()"""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": os.environ | {"TMPDIR": str(tmp_path)}}
    with subprocess.Popen([sys.executable, "-c", command], text=True, **options) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        assert sweep_scratch() == 0 and folder.is_dir()
        other.kill()
        other.wait()
    assert sweep_scratch() == 1 and not folder.exists()


async def test_a_dead_slot_leaves_no_temporary_files(tmp_path: Path) -> None:
    slot = SlotProcess(slot_config(make_home(tmp_path)), 0)
    await slot.start()
    first = slot._scratch
    assert first is not None and first.is_dir()
    (first / "video.mp4").write_bytes(b"half")
    slot.kill()
    await slot.start()
    assert not first.exists() and slot._scratch != first
    await slot.stop()
    assert slot._scratch is not None and not slot._scratch.exists()


def test_what_the_kernel_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = SlotReady(1, ("the kernel has no Landlock: a slot can reach all files of its user",))
    assert ready.sandbox_gaps
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert "riscv64" in (sandbox._restrict_calls(None, sandbox.Walls()) or "")  # type: ignore[arg-type]

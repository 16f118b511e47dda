"""What hostile code in a slot can reach: tried by a real slot process, which is taken over instead of doing its work."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.child_process import child_environment
from service.scratch import PREFIX, WORKING_FILES, make_scratch, remove_scratch, sweep_scratch
from service.store.settings import ObjectSettings
from service.worker import sandbox
from service.worker.slots import child
from service.worker.slots.current_item import CurrentItem
from service.worker.slots.messages import CodecConfig, SlotConfig, SlotReady, TaskFailed
from service.worker.slots.process import SlotProcess
from tests.support.processes.supervisor import slot_config
from tests.worker.slots.test_hostile_slots import SEGMENT

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has Landlock and seccomp"),
]


def attempts(home: Path, port: int, parent: int) -> Iterator[tuple[str, bool]]:
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
    yield "read the environment of the worker", succeeds(Path(f"/proc/{parent}/environ").read_bytes)
    yield "write into the home", succeeds(lambda: (home / "new").write_bytes(b""))
    yield "write into the temporary folder", succeeds(lambda: Path(f"/tmp/reelmill-{os.getpid()}").write_bytes(b""))
    yield "make a temporary file", succeeds(lambda: tempfile.TemporaryFile(dir="/tmp").close())
    yield (
        "connect to a port of this machine",
        succeeds(lambda: socket.create_connection(("127.0.0.1", port), 2).close()),
    )
    yield "open a socket of this machine", succeeds(lambda: socket.socket(socket.AF_UNIX).close())
    yield "listen", succeeds(lambda: socket.create_server(("127.0.0.1", 0)).close())
    yield "start a program", succeeds(lambda: subprocess.run(["/bin/true"], check=True))
    yield "signal the worker", succeeds(lambda: os.kill(parent, 0))
    yield "read objects", succeeds(lambda: list((home / "objects").iterdir()))
    yield "write an object", succeeds(lambda: (home / "objects" / "reelmill" / "x").write_bytes(b""))


def has_in_memory(pattern: bytes) -> bool:
    """Whether something that matches is anywhere in what this process can write; the pattern must not match itself."""
    wanted = re.compile(pattern)
    with open("/proc/self/mem", "rb") as memory:  # noqa: PTH123
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, access, *_ = line.split()
            if access.startswith("rw"):
                start, stop = (int(end, 16) for end in span.split("-"))
                with suppress(OSError, ValueError):
                    memory.seek(start)
                    if wanted.search(memory.read(stop - start)):
                        return True
    return False


def secret_key() -> SecretStr:
    """Put together only here: the codec process of a test loads this module."""
    return SecretStr("-".join(["hidden", "key"]))


def intrude(
    config: CodecConfig, connection: Connection, objects: Connection, parent_pid: int, current: CurrentItem
) -> None:
    """As the real codec process, until it would serve commands."""

    def take_over(_execute: object, connection: Connection, *_: object) -> None:
        connection.recv()
        assert config.scratch is not None
        home, port, pattern = (config.scratch / "body").read_text().split("\n")
        reached = [name for name, success in attempts(Path(home), int(port), parent_pid) if success]
        if has_in_memory(pattern.encode()):
            reached.append("know the keys of the object store")
        connection.send(TaskFailed("reached", ", ".join(reached)))
        time.sleep(60)

    child._serve_commands = take_over  # type: ignore[assignment]
    child.main(config, connection, objects, parent_pid, current)


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
            facts = (config.home, server.getsockname()[1], "hidden[-]key")
            (slot._scratch / "body").write_text("\n".join(map(str, facts)))
            assert slot.sandbox_gaps == ()
            outcome = await slot.execute(SEGMENT)
        finally:
            slot.stop_now()
        assert isinstance(outcome, TaskFailed) and outcome.code == "reached", outcome
        return set(filter(None, outcome.reason.split(", ")))


@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1:9"], ids=["folder", "S3"])
async def test_a_codec_process_reaches_nothing(tmp_path: Path, endpoint: str | None) -> None:
    settings = ObjectSettings.model_construct(endpoint=endpoint, access_key="a", secret_key=secret_key())
    assert await find_reached(replace(slot_config(make_home(tmp_path)), objects=settings)) == set()


async def test_without_its_walls_all_of_it_is_reached(tmp_path: Path) -> None:
    """The attempts are real: without the sandbox they succeed, but for what a slot without privileges cannot do."""
    made = make_home(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        tried = attempts(made, server.getsockname()[1], os.getppid())
        succeeded = {name for name, success in tried if success}
    assert len(succeeded) == 15
    key = secret_key()
    assert has_in_memory(b"hidden[-]key") and not has_in_memory(b"visible[-]key"), key


def test_the_filter_is_the_same_for_both_architectures() -> None:
    for machine in sandbox.AUDIT_ARCHITECTURES:
        offline, online = (len(sandbox.build_filter(machine, network=network)) // 8 for network in (False, True))
        assert online == offline + 2, "two families of sockets"
        assert offline < 256, "jumps are of one byte"


def test_folders_of_dead_workers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = (
        "import sys, time; from service.scratch import make_scratch; print(make_scratch(), flush=True); time.sleep(60)"
    )
    command, environment = [sys.executable, "-c", source], child_environment() | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        (left / "video.mp4").write_bytes(b"half")
        # Its number says nothing: in another container it may be that of a dead process, or of none.
        left = left.rename(tmp_path / f"{PREFIX}999999999-abc")
        own, foreign = make_scratch(), tmp_path / f"{PREFIX}notes"
        foreign.mkdir()
        assert sweep_scratch() == 0, "both processes live"
        other.kill()
    assert sweep_scratch() == 1
    assert not left.exists() and own.is_dir() and foreign.is_dir()
    remove_scratch(own)
    assert not own.exists()


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
    folder = slot._scratch
    assert folder is not None
    (folder / "video").write_bytes(b"half")
    slot.kill()
    await slot.start()
    assert slot._scratch == folder and {file.name: file.stat().st_size for file in folder.iterdir()} == dict.fromkeys(
        WORKING_FILES, 0
    )
    await slot.stop()
    assert not folder.exists()


def test_what_the_kernel_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = SlotReady(1, ("the kernel has no Landlock: a slot can reach all files of its user",))
    assert ready.sandbox_gaps
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert "riscv64" in (sandbox._restrict_calls(None, sandbox.Walls()) or "")  # type: ignore[arg-type]

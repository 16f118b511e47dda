"""A slot that was taken over cannot make the supervisor run anything, and learns no secret."""

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from service.child_process import child_environment
from service.ids import TaskId, new_uuid
from service.plan.names.media_names import Exclusion, Exclusions
from service.store.catalog.scanned import ScannedFrame
from service.store.settings import ObjectSettings
from service.store.tables import datasets, frames, tasks
from service.worker.scan.store import ScanResult
from service.worker.scan.videos import UNREADABLE_COLUMNS
from service.worker.scan.writer import open_scan_writer
from service.worker.slots.messages import CodecConfig, ScanDone, SegmentDone, SlotConfig, StoreCall
from service.worker.slots.process import answer_store_call
from service.worker.slots.unpickling import MESSAGE_TYPES, VALUE_TYPES, UntrustedMessage, load_event
from tests.support.data.database_rows import add_dataset
from tests.support.data.footage import frame_jpeg
from tests.support.patience import PATIENCE_S
from tests.support.processes.supervisor import running_supervisor
from tests.support.processes.worker_process import slot_pids, worker_process
from tests.support.servers.databases import fresh_database

pytestmark = pytest.mark.anyio


class Runs:
    """What a pickle of this would do when it is loaded."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


FRAME = ScannedFrame("a", "p/a.jpg", 1, 9, "e")


def test_messages_arrive() -> None:
    excluded = Exclusions()
    excluded.add(Exclusion(".txt", "no image"), "a.txt")
    calls = (
        StoreCall("stage", ((FRAME, FRAME),)),
        StoreCall("finish_frames", (ScanResult(2, excluded, {"low": 0.5}),)),
    )
    segment = SegmentDone(1, 2, "x264", {"encode": 0.1}, 1, 2, {}, content_key="c", duration="5/2")
    for event in (*calls, segment, ScanDone(3)):
        assert load_event(pickle.dumps(event)) == event


@pytest.mark.parametrize(
    "value",
    [
        Runs(os.system, "true"),
        Runs(eval, "1"),
        Runs(getattr, 1, "real"),
        Runs(pickle.loads, b"N."),
        ScanDone(Runs(os.getpid)),  # type: ignore[arg-type]
        StoreCall("stage", (Runs(open, "/dev/null"),)),
        ScanDone(Fraction(1, 2)),  # type: ignore[arg-type]
        Path("/"),
        {"frames": 1},
        SlotConfig(ObjectSettings.model_construct(), Path("/"), CodecConfig(1, 1)),
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(UntrustedMessage):
        load_event(pickle.dumps(value))


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x04", b"cos\nsystem\n(S'true'\ntR.", b"garbage", b"\x80\x04]" + b"(" * 100_000]
)
def test_damaged_messages_are_refused(data: bytes) -> None:
    with pytest.raises(UntrustedMessage):
        load_event(data)


@pytest.mark.parametrize(("module", "name"), sorted(MESSAGE_TYPES | VALUE_TYPES | {("fractions", "Fraction")}))
def test_no_message_changes_a_class(module: str, name: str) -> None:
    """Pickle's BUILD, given a class instead of an instance of it, sets attributes of the class."""
    with pytest.raises(UntrustedMessage):
        load_event(f"c{module}\n{name}\n(N}}Vset_by_a_pickle\nI1\nstb.".encode())
    assert not hasattr(getattr(import_module(module), name), "set_by_a_pickle")


async def test_a_scan_writes_only_what_it_found(postgres_url: str) -> None:
    foreign = ScannedFrame("a", "another/experiment/a.jpg", 1, 9, "e")
    facts = {"frame_count": 1, "bytes": 1, "width": 1, "problems": [], "unreadable_frames": 0, "gap_frames": 0}
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
        own = {"key": f"{dataset.prefix}a.mp4", "number": 0, "size": 1, "etag": "e", "first_index": 0}
        own |= UNREADABLE_COLUMNS | {"pts": b"", "problem": "x"}
        async with open_scan_writer(database, dataset.id) as writer:
            assert (await answer_store_call(writer, StoreCall("stage", ((FRAME,),)))).error, "it has not begun"
            assert (await answer_store_call(writer, StoreCall("begin", ()))).value.prefix == dataset.prefix
            for call in (
                StoreCall("stage", ((foreign,),)),
                StoreCall("finish_videos", (({"key": "another/a.mp4"},), ScanResult(1, Exclusions(), facts=facts))),
                StoreCall("finish_videos", ((own,), ScanResult(1, Exclusions(), facts=facts | {"prefix": "another/"}))),
                StoreCall(
                    "finish_videos", ((own,), ScanResult(1, Exclusions(), facts=facts | {"source_grant": "admin"}))
                ),
                StoreCall(
                    "finish_videos", ((own,), ScanResult(1, Exclusions(), facts=facts | {"uploads_until": None}))
                ),
                StoreCall("finish_videos", ((own | {"dataset_id": "x"},), ScanResult(1, Exclusions(), facts=facts))),
                StoreCall("_open_staging", ()),
                StoreCall("__class__", ()),
                StoreCall("stage", ()),
            ):
                assert (await answer_store_call(writer, call)).error, call
            found = StoreCall("finish_videos", ((own,), ScanResult(1, Exclusions(), facts=facts)))
            assert (await answer_store_call(writer, found)).error is None, "only what was added is refused"
        assert (await answer_store_call(None, StoreCall("begin", ()))).error


async def test_a_slot_is_given_no_secret(postgres_url: str, tmp_path: Path) -> None:
    secrets = {"REELMILL_WEBHOOK_SECRET": "hunter2-" * 8, "JWT_SECRET": "hunter3-" * 8, "REELMILL_TOKEN": "hunter4"}
    async with fresh_database(postgres_url) as database, asyncio.timeout(PATIENCE_S):
        with worker_process(database.url, tmp_path, **secrets) as worker:
            while not (slots := slot_pids(worker.pid)):
                assert worker.poll() is None
                await asyncio.sleep(0.05)
            environment = Path(f"/proc/{slots[0]}/environ").read_bytes()
    assert b"REELMILL_HOME" in environment and b"hunter" not in environment
    assert database.url.encode() not in environment and b"DATABASE_URL" not in environment
    assert not {name for name in SlotConfig.__dataclass_fields__ if "database" in name or "webhook" in name}
    assert not {name for name in CodecConfig.__dataclass_fields__ if "objects" in name or "home" in name}


# What code could try that has taken over a slot: same user, no privileges, same machine.
INTRUDER = """
import ctypes, os, sys
from service.child_process import drop_privileges
drop_privileges()
pid = int(sys.argv[1])
for name in ("environ", "mem", "maps", "auxv"):
    try:
        open(f"/proc/{pid}/{name}", "rb").read(1)
        print(name)
    except OSError:
        pass
if ctypes.CDLL(None).ptrace(16, pid, None, None) == 0:  # PTRACE_ATTACH
    print("ptrace")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these switches")
async def test_a_slot_has_no_privileges_and_cannot_read_its_worker(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_database(postgres_url) as database, asyncio.timeout(PATIENCE_S):
        with worker_process(database.url, tmp_path) as worker:
            while not (slots := slot_pids(worker.pid)) or b"Seccomp:\t2" not in status_of(slots[0]):  # its last wall
                assert worker.poll() is None
                await asyncio.sleep(0.05)
            assert b"NoNewPrivs:\t1" in status_of(slots[0])
            for kind in (b"CapInh", b"CapPrm", b"CapEff", b"CapAmb"):
                assert kind + b":\t0000000000000000" in status_of(slots[0])
            assert intrude(worker.pid) == [], "the worker shows nothing"
            assert "environ" in intrude(slots[0]), "the same reads succeed where nothing is hidden"


def status_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/status").read_bytes()


def intrude(pid: int) -> list[str]:
    """What of the process an intruder can open."""
    command = [sys.executable, "-c", INTRUDER, str(pid)]
    return subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("kind", ["frames", "video"])
async def test_a_slot_without_a_database_scans(postgres_url: str, tmp_path: Path, kind: str) -> None:
    async with fresh_database(postgres_url) as database:
        async with database.service_transaction() as connection:
            dataset = await add_dataset(connection, 0)
            await connection.execute(update(datasets).values(kind=kind, state="empty", width=None, height=None))
            task = TaskId(new_uuid())
            await connection.execute(insert(tasks).values(id=task, kind="scan", dataset_id=dataset.id))
        folder = tmp_path / "objects" / "reelmill" / dataset.prefix
        folder.mkdir(parents=True)
        for number in range(3):
            name, data = (f"{number}.jpg", frame_jpeg(number)) if kind == "frames" else (f"{number}.mp4", b"no video")
            (folder / name).write_bytes(data)
        (folder / "notes.txt").write_text("no image")
        async with running_supervisor(database, tmp_path), asyncio.timeout(PATIENCE_S):
            state = "running"
            while state in ("queued", "running"):
                await asyncio.sleep(0.05)
                async with database.service_transaction() as connection:
                    state = await connection.scalar(select(tasks.c.state).where(tasks.c.id == task))
        async with database.service_transaction() as connection:
            row = (await connection.execute(select(datasets))).mappings().one()
            names = (await connection.execute(select(frames.c.key).order_by(frames.c.index))).scalars().all()
    assert state == "succeeded" and row["excluded"][".txt"]["count"] == 1
    if kind == "frames":
        assert (row["state"], row["width"], row["scanned"]) == ("ready", 64, 4)
        assert names == [f"{dataset.prefix}{number}.jpg" for number in range(3)]
    else:
        assert row["state"] == "failed" and row["unreadable_frames"] == 3 and "can be read" in row["error"]

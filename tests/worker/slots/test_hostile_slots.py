"""What a slot that was taken over can do to its worker: nothing but fail its own task."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from service.ids import new_uuid
from service.plan.render_plan import FrameRef, SegmentPlan
from service.store.objects.digests import StoredSegment, transient_key
from service.store.objects.keys import render_object_key
from service.worker.slots.messages import (
    AssembleRender,
    AssemblyDone,
    CodecConfig,
    Command,
    Outcome,
    PreviewDone,
    Progress,
    RenderSegment,
    ScanDone,
    SegmentDone,
    SegmentsMissing,
    SlotReady,
    StoreCall,
    TaskFailed,
)
from service.worker.slots.process import SlotDied, SlotProcess
from service.worker.slots.unpickling import UntrustedMessage, require_answer
from tests.plan.test_segments import OPTIONS
from tests.support.processes.supervisor import slot_config

pytestmark = pytest.mark.anyio
# How long these slots keep up what they do. A worker that waits for one of them notices only that it has ended.
LIFETIME_S = 8.0

RENDER, DIGESTS = new_uuid(), {"mp4": "e" * 64, "ndjson": "f" * 64}
SEGMENT = RenderSegment(SegmentPlan(0, 0, "b", OPTIONS, (FrameRef(0, "a.jpg", "e", 5),)), "a" * 64)
# Its facts are more than a pipe holds.
ASSEMBLY = AssembleRender(RENDER, OPTIONS, (StoredSegment("a" * 64, 1),), {"request": "x" * (4 << 20)})


def stop_within_a_message(_config: CodecConfig, connection: Connection, *_: object) -> None:
    connection.send(SlotReady(os.getpid()))
    connection.recv()
    os.write(connection.fileno(), b"\0\0")
    time.sleep(LIFETIME_S)


def never_read(_config: CodecConfig, connection: Connection, *_: object) -> None:
    connection.send(SlotReady(os.getpid()))
    time.sleep(LIFETIME_S)


def never_read_answers(_config: CodecConfig, connection: Connection, *_: object) -> None:
    connection.send(SlotReady(os.getpid()))
    connection.recv()
    send_until_the_end(connection, StoreCall("x" * 40, ()))


def flood(_config: CodecConfig, connection: Connection, *_: object) -> None:
    connection.send(SlotReady(os.getpid()))
    send_until_the_end(connection, Progress(1))


def send_until_the_end(connection: Connection, message: object) -> None:
    signal.alarm(int(LIFETIME_S))
    while True:
        connection.send(message)


def leave_a_child(_config: CodecConfig, connection: Connection, *_: object) -> None:
    """The child keeps the pipe open when the slot is killed."""
    connection.send(SlotReady(os.getpid()))
    os.fork()
    time.sleep(LIFETIME_S)


def give_the_key_of_another(_config: CodecConfig, connection: Connection, *_: object) -> None:
    connection.send(SlotReady(os.getpid()))
    connection.recv()
    connection.send(segment_done("b" * 64))
    time.sleep(LIFETIME_S)


def segment_done(content_key: str, **changes: Any) -> SegmentDone:
    return SegmentDone(1, 2, "x264", {"encode": 0.1}, 1, 2, {}, content_key, **{"digests": DIGESTS} | changes)


def assembly_done(**changes: Any) -> AssemblyDone:
    names = {"video_key": "video.mp4", "poster_key": "poster.jpg", "receipt_key": "receipt.ndjson"}
    keys = {column: render_object_key(RENDER, name) for column, name in names.items()}
    return AssemblyDone(
        **{"size": 1, "sha256": "e", "frames": 1, "summary": {}, "etag": "e", "digests": {}, "stored_bytes": 2}
        | keys
        | changes
    )


@pytest.mark.parametrize("behave", [stop_within_a_message, never_read, never_read_answers, flood, leave_a_child])
async def test_a_slot_that_misbehaves_stops_nobody_else(tmp_path: Path, behave: Callable[..., None]) -> None:
    slot = SlotProcess(slot_config(tmp_path), 0, behave)
    await slot.start()
    command = ASSEMBLY if behave is never_read else SEGMENT
    execution = asyncio.create_task(slot.execute(command))
    await asyncio.wait((execution,), timeout=1)
    assert behave is never_read_answers or slot.is_alive, "the worker has waited for its end"
    slot.kill()
    with pytest.raises(SlotDied):
        async with asyncio.timeout(LIFETIME_S / 2):
            await execution
    await slot.stop()


async def test_a_slot_that_answers_for_another_segment_is_killed(tmp_path: Path) -> None:
    slot = SlotProcess(slot_config(tmp_path), 0, give_the_key_of_another)
    await slot.start()
    outcome = await slot.execute(SEGMENT)
    assert isinstance(outcome, TaskFailed) and (outcome.code, outcome.retry) == ("untrusted", True)
    assert not slot.is_alive


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (SEGMENT, segment_done("a" * 64)),
        (SEGMENT, segment_done(transient_key("a" * 64, DIGESTS), transient=True, duration="5/2")),
        (SEGMENT, TaskFailed("x", "y")),
        (ASSEMBLY, assembly_done()),
        (ASSEMBLY, SegmentsMissing(("a" * 64,))),
    ],
)
def test_answers_are_taken(command: Command, outcome: Outcome) -> None:
    require_answer(command, outcome)


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (SEGMENT, segment_done("b" * 64)),
        (SEGMENT, segment_done("a" * 64, transient=True)),
        (SEGMENT, segment_done(transient_key("a" * 64, DIGESTS))),
        (SEGMENT, segment_done(transient_key("b" * 64, DIGESTS), transient=True)),
        (SEGMENT, segment_done(transient_key("a" * 64, DIGESTS), transient=True, digests=DIGESTS | {"mp4": "0"})),
        (SEGMENT, segment_done("a" * 64, transient=True, digests={1: "a", "b": object()})),
        (SEGMENT, segment_done("a" * 64, duration="1e999999999")),
        (SEGMENT, assembly_done()),
        (SEGMENT, ScanDone(1)),
        (ASSEMBLY, segment_done("a" * 64)),
        (ASSEMBLY, PreviewDone(1, "e")),
        (ASSEMBLY, SegmentsMissing(("b" * 64,))),
        (ASSEMBLY, SegmentsMissing((), ("a" * 64, "b" * 64))),
        (ASSEMBLY, assembly_done(video_key=render_object_key(new_uuid(), "video.mp4"))),
        (ASSEMBLY, assembly_done(receipt_key=render_object_key(RENDER, "../receipt.ndjson"))),
        (ASSEMBLY, assembly_done(poster_key=None)),
    ],
)
def test_answers_to_something_else_are_refused(command: Command, outcome: Outcome) -> None:
    with pytest.raises(UntrustedMessage):
        require_answer(command, outcome)
